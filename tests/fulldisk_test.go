package tests

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"gosssd/kcm/client"
	"gosssd/kcm/protocol"
)

// TestOnAFullDiskTicketsAreReadMadeAndDestroyed: a disk that is full takes
// nothing from anybody.
func TestOnAFullDiskTicketsAreReadMadeAndDestroyed(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for storage, file := range vaults {
		t.Run(storage, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, storedIn(storage)+"max_ccache_size = 0\n")
			s.onSmallDisk(s.path("/var/lib/sss/secrets"), "24m")
			s.start()
			c := s.kcm()
			alice, big := principal("alice"), make([]byte, 60<<10)
			fill := func(name string, n int) (err error) {
				err = c.Initialize(name, alice)
				for i := 0; i < n && err == nil; i++ {
					err = c.Store(name, ticket(alice, fmt.Sprint("host", i), big))
				}
				return err
			}
			if err := errors.Join(fill("20001", 30), fill("20002", 1)); err != nil {
				t.Fatal(err)
			}
			disk := fmt.Sprintf("/proc/%d/root%s", s.sssd.Process.Pid, s.path("/var/lib/sss/secrets"))
			if err := fillDisk(disk + "/filler"); err != nil {
				t.Fatal(err)
			}
			var refused *client.Error
			if err := c.Store("20001", ticket(alice, "huge", make([]byte, 7<<20))); !errors.As(err, &refused) || refused.Code != protocol.DiskFull {
				t.Errorf("a large ticket: %v, want %v", err, protocol.DiskFull)
			}
			expect(t, s.log("sssd_kcm"), file, "no space left on device")
			serves := func(when string) {
				t.Helper()
				for name, n := range map[string]int{"20001": 30, "20002": 1} {
					if services, err := c.services(name); err != nil || len(services) != n {
						t.Errorf("%s: uid %s has %d tickets of %d, %v", when, name, len(services), n, err)
					}
				}
			}
			serves("after a refusal")
			for uid := 21000; uid < 21020; uid++ {
				name := fmt.Sprint(uid)
				if err := c.Initialize(name, alice); err != nil {
					t.Errorf("uid %s cannot log in: %v", name, err)
				} else if err := c.store(name, alice, "host"); err != nil {
					t.Errorf("uid %s gets no ticket: %v", name, err)
				}
			}
			s.killHard("sssd_kcm")
			if storage == "secrets" {
				s.killHard("sssd_secrets")
			}
			c.reset()
			serves("after a crash")
			if _, err := c.Call(protocol.OpDestroy, protocol.AppendName(nil, "20001")); err != nil {
				t.Errorf("kdestroy: %v", err)
			}
			if err := fill("20005", 1); err != nil {
				t.Errorf("a login after it: %v", err)
			}
			if err := os.Remove(disk + "/filler"); err != nil {
				t.Fatal(err)
			}
			if err := c.Store("20002", ticket(alice, "huge", make([]byte, 7<<20))); err != nil {
				t.Errorf("with room again: %v", err)
			}
		})
	}
}

func ticket(p protocol.Principal, service string, text []byte) protocol.Credential {
	return protocol.Credential{
		Client: p, Server: principal("host", service), Key: protocol.Keyblock{Enctype: 18, Key: make([]byte, 32)},
		Times: protocol.Times{End: 0x7fffffff}, Ticket: text,
	}
}

// onSmallDisk has sssd see a small file system at a path, in a mount namespace
// of its own.
func (s *system) onSmallDisk(path, size string) {
	s.t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		s.t.Fatal(err)
	}
	s.write("/bin/sssd", fmt.Sprintf(`#!/bin/sh
exec unshare -m sh -c 'mount -t tmpfs -o size=%s,mode=700 tmpfs "$0" && exec "$@"' '%s' '%s/sssd' "$@"
`, size, path, programs), 0o755)
	s.bin = s.path("/bin")
}

// fillDisk writes to a file until the disk is full.
func fillDisk(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, unix.ENOSPC) {
		return err
	}
	return nil
}
