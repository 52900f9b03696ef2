package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gosssd/kcm/client"
	"gosssd/kcm/protocol"
)

// attack is what one user does to the others.
type attack struct {
	name, key string
	users     int  // who do it; 0 is one
	fresh     bool // the honest user makes a connection for each request
}

var attacks = []attack{
	{name: "nobody attacks", key: "quiet"},
	{name: "100 connections with half-sent frames of 10 MiB", key: "half"},
	{name: "40 silent connections after a request of 9 MiB each", key: "silent"},
	{name: "100 connections that do not read replies of 9 MiB", key: "unread"},
	{name: "as many bytes as the quota takes, again and again", key: "quota"},
	{name: "one cache of as many tiny credentials as 10 MiB hold, again and again", key: "tiny"},
	{name: "one cache of 10 000 tiny credentials, again and again", key: "tiny10000"},
	{name: "one cache of 4096 tiny credentials, again and again", key: "tiny4096"},
	{name: "names of 9 MiB and requests that fail", key: "log"},
	{name: "3 users with 1000 connections to each socket, each of whom connects again every ms", key: "connections", users: 3, fresh: true},
	{name: "the same, who connect again as fast as they can", key: "reconnect", users: 3, fresh: true},
}

// hostile are attacks of which each meets servers that have just started, so that
// their memory can be compared with what it was before.
var hostile = []attack{
	{name: "500 connections with half-sent frames of 10 MiB", key: "half500"},
	{name: "3000 idle connections", key: "idle3000"},
	{name: "frames that are announced with 4 GiB, again and again", key: "announced"},
	{name: "100 connections that do not read replies of 9 MiB", key: "unread"},
	{name: "8 connections that ask as fast as they can", key: "flood"},
	{name: "the same by two users", key: "flood", users: 2},
}

// attacker is one user's process. Its connections end with it.
type attacker struct {
	task
	stop <-chan struct{}
	said string
}

func (a *attacker) stopped() bool {
	select {
	case <-a.stop:
		return true
	default:
		return false
	}
}

func (a *attacker) run() {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		limit.Cur = limit.Max
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	}
	switch a.Do {
	case "half":
		whole := frame(protocol.OpResolve, protocol.AppendName(nil, strings.Repeat("n", 10<<20-8)))
		a.each(100, whole[:len(whole)-10], false)
	case "half500":
		whole := frame(protocol.OpResolve, protocol.AppendName(nil, strings.Repeat("n", 10<<20-8)))
		a.each(500, whole[:len(whole)/2], false)
	case "idle3000":
		a.each(3000, nil, false)
	case "announced":
		a.announce()
	case "flood":
		a.flood(8)
	case "silent":
		a.each(40, frame(protocol.OpResolve, protocol.AppendName(nil, strings.Repeat("n", 9<<20))), true)
	case "unread":
		name := fmt.Sprint(os.Getuid())
		a.said = "the list: " + a.fill(a.client(), name, 150, 60<<10)
		var four []byte
		for range 4 {
			four = append(four, frame(protocol.OpGetCredList, protocol.AppendName(nil, name))...)
		}
		a.each(100, four, false)
	case "quota":
		a.quota()
	case "tiny":
		a.again(115_000)
	case "tiny4096":
		a.again(4096)
	case "tiny10000":
		a.again(10_000)
	case "log":
		a.log()
	case "connections":
		a.hold(time.Millisecond)
	case "reconnect":
		a.hold(0)
	}
	<-a.stop
}

func (a *attacker) client() *client.Client { return client.New(a.Socket, patience) }

func frame(op protocol.Op, params []byte) []byte {
	return protocol.AppendRequest(nil, protocol.Request{Op: op, Params: params})
}

// each makes many connections and sends b to all of them, and reads one reply
// if it is to.
func (a *attacker) each(n int, b []byte, read bool) {
	for range n {
		c, err := net.Dial("unix", a.Socket)
		for errors.Is(err, syscall.EAGAIN) && !a.stopped() {
			time.Sleep(time.Millisecond)
			c, err = net.Dial("unix", a.Socket)
		}
		if err != nil {
			a.said = words(err)
			return
		}
		go func() {
			_, _ = c.Write(b)
			if read {
				_, _ = c.Read(make([]byte, 8))
			}
		}()
	}
}

// fill makes a cache of n tickets of so many bytes, with REPLACE or, where the
// server lacks that, with STORE, until the attack ends.
func (a *attacker) fill(c *client.Client, name string, n, size int) string {
	_, err := c.Call(protocol.OpReplace, replacement(name, n, size))
	var refused *client.Error
	switch {
	case err == nil, errors.As(err, &refused) && (refused.Code == protocol.Quota || refused.Code == protocol.DiskFull):
		return words(err)
	case refused == nil:
		_ = c.Close() // SSSD's cuts the connection
	}
	if err := c.Initialize(name, principal("g")); err != nil {
		return words(err)
	}
	for i := range n {
		if a.stopped() {
			return fmt.Sprintf("no REPLACE; %d by STORE until the end", i)
		}
		if err := c.Store(name, ticket(fmt.Sprint(i), size)); err != nil {
			return fmt.Sprintf("no REPLACE; STORE number %d: %s", i, words(err))
		}
	}
	return "no REPLACE; served by STORE"
}

// replacement is the parameters of a REPLACE by n tickets, or as many as a
// frame holds.
func replacement(name string, n, size int) []byte {
	var list [][]byte
	total := 0
	for i := range n {
		one := protocol.AppendCredential(nil, ticket(fmt.Sprint(i), size))
		if total += 4 + len(one); total > 10<<20-256 {
			break
		}
		list = append(list, one)
	}
	b := append(protocol.AppendName(nil, name), 0, 0, 0, 0)
	b = protocol.AppendPrincipal(b, principal("g"))
	return protocol.AppendCredentialList(b, list)
}

func (a *attacker) quota() {
	c := a.client()
	done := map[string]int{}
	for i := 0; !a.stopped(); i++ {
		done[a.fill(c, fmt.Sprintf("%d:%d", os.Getuid(), i%64), 150, 60<<10)]++
	}
	a.said = counted(done)
}

func (a *attacker) again(n int) {
	c := a.client()
	name := fmt.Sprintf("%d:t", os.Getuid())
	done := map[string]int{}
	for !a.stopped() {
		done[a.fill(c, name, n, 0)]++
		time.Sleep(time.Millisecond)
	}
	a.said = counted(done)
}

func counted(done map[string]int) string {
	var parts []string
	for what, n := range done {
		parts = append(parts, fmt.Sprintf("%d × %s", n, what))
		if len(parts) == 3 {
			break
		}
	}
	return strings.Join(parts, "; ")
}

func (a *attacker) log() {
	c := a.client()
	long := protocol.AppendName(nil, strings.Repeat("x", 9<<20))
	n := 0
	for ; !a.stopped(); n++ {
		if n%100 == 0 {
			_, _ = c.Call(protocol.OpResolve, long)
			_, _ = c.Call(protocol.OpGetPrincipal, long)
		}
		if _, err := c.Call(protocol.OpStore, []byte("\x00\xff no request")); err != nil && words(err) == "connection closed" {
			_ = c.Close()
		}
	}
	a.said = fmt.Sprintf("%d requests", n)
}

// hold holds 1000 connections to each socket and makes one again where one is
// taken from it, with a pause before each.
func (a *attacker) hold(pause time.Duration) {
	var lost, turn sync.Mutex
	times := 0
	for _, socket := range []string{a.Socket, a.Secrets} {
		for range 1000 {
			if socket == "" {
				break
			}
			go func() {
				for !a.stopped() {
					if c, err := net.Dial("unix", socket); err == nil {
						_, _ = c.Read(make([]byte, 1))
						_ = c.Close()
						lost.Lock()
						times++
						lost.Unlock()
					}
					turn.Lock()
					time.Sleep(pause)
					turn.Unlock()
				}
			}()
		}
	}
	<-a.stop
	lost.Lock()
	defer lost.Unlock()
	a.said = fmt.Sprintf("connected again %d times", times)
}

// announce says that four GiB follow, sends a little of them, and does it again
// wherever the connection is taken from it.
func (a *attacker) announce() {
	var all sync.WaitGroup
	var times atomic.Int64
	for range 50 {
		all.Go(func() {
			for !a.stopped() {
				c, err := net.Dial("unix", a.Socket)
				if err != nil {
					time.Sleep(time.Millisecond)
					continue
				}
				_ = c.SetDeadline(time.Now().Add(time.Second))
				_, _ = c.Write([]byte("\xff\xff\xff\xff\x02\x00\x00\x01and so on"))
				_, _ = c.Read(make([]byte, 8))
				_ = c.Close()
				times.Add(1)
			}
		})
	}
	all.Wait()
	a.said = fmt.Sprintf("announced %d times", times.Load())
}

// flood asks over some connections, without a pause.
func (a *attacker) flood(connections int) {
	var all sync.WaitGroup
	var times atomic.Int64
	for i := range connections {
		all.Go(func() {
			c := a.client()
			defer func() { _ = c.Close() }()
			name := fmt.Sprintf("%d:%d", os.Getuid(), i)
			_ = c.Initialize(name, principal("g"))
			for !a.stopped() {
				if _, err := c.Call(protocol.OpGetPrincipal, protocol.AppendName(nil, name)); err != nil {
					_ = c.Close()
				}
				times.Add(1)
			}
		})
	}
	all.Wait()
	a.said = fmt.Sprintf("%d requests", times.Load())
}
