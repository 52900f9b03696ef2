package kcm

import (
	"net"
	"testing"
	"time"

	"gosssd/tests/vectors"
)

func TestVectors(t *testing.T) {
	cases, err := vectors.All()
	if err != nil {
		t.Fatal(err)
	}
	uids := map[string]uint32{"one": 1000, "two": 1001, "root": 0}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			r := newRig(t, c.Config)
			err := c.Run(vectors.Server{
				UIDs: uids,
				Now:  func() time.Time { return time.Unix(r.clock.Load(), 0) },
				Dial: func(user string) (net.Conn, error) { return r.client(uids[user]).conn, nil },
			})
			if err != nil {
				t.Error(err)
			}
			for _, uid := range uids {
				if r.server.users.of(uid).published.Load() != nil {
					r.checkStore(uid)
				}
			}
		})
	}
}
