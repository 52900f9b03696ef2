package tests

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gosssd/kcm/client"
	"gosssd/kcm/protocol"
)

// The users of the attacks, and one who wants nothing but tickets.
const (
	greedyUser = 20001
	honestUser = 20002
)

// memoryBound is what one user can make sssd_kcm hold, of which sssd-kcm(8)
// speaks, with what Go's collector lets lie until it runs.
const memoryBound = 400 << 20

// honestRounds are the rounds of requests that the honest user makes during
// each attack.
const honestRounds = 60

// attack is what the greedy user does; it returns when the worst is under way.
type attack struct {
	name string
	do   func(t *testing.T, m *attackers)
}

// attackers are the connections of the greedy user.
type attackers struct {
	t      *testing.T
	socket string
	conns  []net.Conn
}

func (m *attackers) dial() net.Conn {
	c, err := dialAs(greedyUser, m.socket)
	if err != nil {
		m.t.Error(err)
		return nil
	}
	m.conns = append(m.conns, c)
	return c
}

// each makes many connections and sends to all of them as much of b as is
// taken.
func (m *attackers) each(n int, b []byte) {
	for range n {
		if c := m.dial(); c != nil {
			_ = c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
			_, _ = c.Write(b)
		}
	}
}

func (m *attackers) leave() {
	for _, c := range m.conns {
		c.Close()
	}
	m.conns = nil
}

func clientAs(t *testing.T, uid uint32, socket string) *client.Client {
	c := client.Over(func() (io.ReadWriteCloser, error) { return dialAs(uid, socket) }, time.Minute)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func frame(op protocol.Op, params ...[]byte) []byte {
	return protocol.AppendRequest(nil, protocol.Request{Op: op, Params: slices.Concat(params...)})
}

// replaceWith is the parameters of a REPLACE by n tickets of so many bytes.
func replaceWith(name string, n, size int) []byte {
	var list [][]byte
	for i := range n {
		list = append(list, protocol.AppendCredential(nil, protocol.Credential{
			Client: principal("g"), Server: principal(fmt.Sprint(i)), Times: protocol.Times{End: 0x7fffffff}, Ticket: make([]byte, size),
		}))
	}
	b := append(protocol.AppendName(nil, name), 0, 0, 0, 0)
	b = protocol.AppendPrincipal(b, principal("g"))
	return protocol.AppendCredentialList(b, list)
}

var attacks = []attack{
	{"half-sent frames", func(_ *testing.T, m *attackers) {
		whole := frame(protocol.OpResolve, protocol.AppendName(nil, strings.Repeat("n", 10<<20-8)))
		m.each(100, whole[:len(whole)-10])
	}},
	{"replies that are not read", func(t *testing.T, m *attackers) {
		name := fmt.Sprint(greedyUser)
		c := clientAs(t, greedyUser, m.socket)
		if _, err := c.Call(protocol.OpReplace, replaceWith(name, 150, 60<<10)); err != nil {
			t.Fatal(err)
		}
		m.each(100, slices.Repeat(frame(protocol.OpGetCredList, protocol.AppendName(nil, name)), 4))
	}},
	{"as many bytes as the quota takes", func(t *testing.T, m *attackers) {
		c := clientAs(t, greedyUser, m.socket)
		var refused *client.Error
		for i := range 64 {
			_, err := c.Call(protocol.OpReplace, replaceWith(fmt.Sprintf("%d:%d", greedyUser, i), 150, 60<<10))
			if errors.As(err, &refused) && refused.Code == protocol.Quota {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if refused == nil {
			t.Error("no quota refuses 64 caches of 9 MiB")
		}
	}},
	{"a list of more tiny credentials than a cache may have", func(t *testing.T, m *attackers) {
		var refused *client.Error
		_, err := clientAs(t, greedyUser, m.socket).Call(protocol.OpReplace, replaceWith(fmt.Sprintf("%d:0", greedyUser), 80000, 0))
		if !errors.As(err, &refused) || refused.Code != protocol.Quota {
			t.Errorf("80000 credentials: %v", err)
		}
	}},
	{"the largest list of tiny credentials, again and again", func(t *testing.T, m *attackers) {
		c := clientAs(t, greedyUser, m.socket)
		for range 5 {
			if _, err := c.Call(protocol.OpReplace, replaceWith(fmt.Sprintf("%d:0", greedyUser), 4096, 0)); err != nil {
				t.Error(err)
			}
		}
	}},
}

// One user held 1.3 GiB with half-sent frames and 2 GiB with tickets, and kept
// the stores of all others waiting for 11 s with one list.
//
//nolint:paralleltest // it measures memory and times
func TestOneUserCannotTakeMemoryOrTimeFromTheOthers(t *testing.T) {
	needRoot(t)
	s := newSystem(t, defaults).start()
	socket := s.path(sockets["sssd_kcm"])
	quiet := honestly(t, socket)
	t.Logf("quiet: honest p99 %v, sssd_kcm %d MiB", quiet, s.highWater("sssd_kcm")>>20)
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			m := &attackers{t: t, socket: socket}
			defer m.leave()
			var attacking sync.WaitGroup
			attacking.Go(func() { a.do(t, m) })
			p99 := honestly(t, socket)
			attacking.Wait()
			p99 = max(p99, honestly(t, socket))
			kcm, secrets := s.highWater("sssd_kcm"), s.highWater("sssd_secrets")
			t.Logf("honest p99 %v, sssd_kcm at most %d MiB, sssd_secrets at most %d MiB", p99, kcm>>20, secrets>>20)
			if kcm > memoryBound {
				t.Errorf("sssd_kcm took %d MiB, expected at most %d", kcm>>20, memoryBound>>20)
			}
		})
	}
	t.Run("and who has as much as the quota takes is served after a restart", func(t *testing.T) {
		s.killHard("sssd_kcm")
		s.killHard("sssd_secrets")
		got, err := clientAs(t, greedyUser, socket).Call(protocol.OpGetCredList, protocol.AppendName(nil, fmt.Sprintf("%d:1", greedyUser)))
		if err != nil || len(got) < 150*60<<10 {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		t.Logf("sssd_kcm at most %d MiB, sssd_secrets at most %d MiB", s.highWater("sssd_kcm")>>20, s.highWater("sssd_secrets")>>20)
	})
}

// honestly makes the honest user log in, store and list, none of which may
// fail, and returns how long the slowest hundredth of that took.
func honestly(t *testing.T, socket string) (p99 time.Duration) {
	c := &kcmClient{clientAs(t, honestUser, socket)}
	name := fmt.Sprint(honestUser)
	var took []time.Duration
	timed := func(f func() error) {
		began := time.Now()
		if err := f(); err != nil {
			t.Errorf("the honest user: %v", err)
		}
		took = append(took, time.Since(began))
	}
	for i := range honestRounds {
		timed(func() error { _, err := c.Call(protocol.OpReplace, replaceWith(name, 1, 1500)); return err })
		timed(func() error { return c.store(name, principal("g"), fmt.Sprint("s", i)) })
		timed(func() error {
			got, err := c.Credentials(name)
			if err == nil && len(got) != 2 {
				err = fmt.Errorf("%d credentials", len(got))
			}
			return err
		})
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

// highWater is the most memory that a responder had since its start, in bytes.
func (s *system) highWater(program string) (bytes int64) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid(program)))
	if err != nil {
		s.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscan(rest, &bytes); err != nil {
		s.t.Fatal(err)
	}
	return bytes << 10
}
