package tests

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gosssd/kcm/protocol"
)

// hammer runs clients that reconnect as libkrb5 does until every one of them
// has made its requests and the disturbance is over, and returns what failed.
// After its requests a client lets other tests have the processor now and then.
func (s *system) hammer(clients, requests int, disturb func()) []error {
	s.t.Helper()
	name := fmt.Sprint(os.Getuid())
	if err := s.kcm().Initialize(name, principal("alice")); err != nil {
		s.t.Fatal(err)
	}
	var over atomic.Bool
	var running sync.WaitGroup
	var mu sync.Mutex
	var failures []error
	for i := range clients {
		c := s.kcm()
		running.Go(func() {
			for n := 0; n < requests || !over.Load(); n++ {
				if n > requests {
					time.Sleep(time.Millisecond)
				}
				var err error
				if n%10 == 0 {
					err = c.store(name, principal("alice"), fmt.Sprintf("%d-%d", i, n%100))
				} else {
					_, err = c.Call(protocol.OpGetPrincipal, protocol.AppendName(nil, name))
				}
				if err != nil {
					mu.Lock()
					failures = append(failures, fmt.Errorf("client %d, request %d: %w", i, n, err))
					mu.Unlock()
					c.reset()
				}
			}
		})
	}
	disturb()
	over.Store(true)
	running.Wait()
	return failures
}

// quiet is a configuration whose responders are pinged often.
const quiet = "[sssd]\n[kcm]\ntimeout = 1\n"

// disturbances are what a responder and its clients have to get over.
var disturbances = map[string]func(s *system, round int){
	"sssd restarts in order": func(s *system, round int) {
		s.configure(fmt.Sprintf("[kcm]\nfd_limit = %d\n[secrets]\nfd_limit = %d\n", 1000+round, 1000+round/2))
		s.sh(user(os.Getuid()), `"$BIN"/sssctl --root "$ROOT" restart`)
	},
	"kcm goes idle": func(s *system, _ int) {
		s.sh(user(os.Getuid()), `busctl --address="$BUS" call sssd.kcm /org/freedesktop/sssd/service org.freedesktop.sssd.service Drain || :`)
	},
	"secrets is killed": func(s *system, round int) {
		if pid := s.pid("sssd_secrets"); pid != 0 && round < kills() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if err := s.kcm().store(fmt.Sprint(os.Getuid()), principal("alice"), fmt.Sprintf("round %d", round)); err != nil {
			s.t.Error(err)
		}
	},
	"sssd is killed, and both responders run": func(s *system, round int) {
		if err := s.kcm().store(fmt.Sprint(os.Getuid()), principal("alice"), fmt.Sprintf("round %d", round)); err != nil {
			s.t.Error(err)
		}
		s.kill(syscall.SIGKILL)
		s.start()
	},
	"sssd is killed, and again while the next one takes over": func(s *system, round int) {
		if err := s.kcm().store(fmt.Sprint(os.Getuid()), principal("alice"), fmt.Sprintf("round %d", round)); err != nil {
			s.t.Error(err)
		}
		if round%2 > 0 { // which needs another sssd_kcm
			s.configure(fmt.Sprintf("%sfd_limit = %d\n", quiet, 1000+round))
		}
		s.kill(syscall.SIGKILL)
		notices := s.launch()
		time.Sleep(time.Duration(round) * 10 * time.Millisecond) // another moment each time
		s.kill(syscall.SIGKILL)
		notices.Close()
		s.start()
	},
}

func TestNoRequestFailsWhile(t *testing.T) {
	t.Parallel()
	for name, disturb := range disturbances {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, quiet).start()
			failures := s.hammer(8, 1250, func() {
				for round := range 10 {
					disturb(s, round)
				}
			})
			if len(failures) > 0 {
				t.Errorf("%d requests failed, the first: %v", len(failures), failures[0])
			}
		})
	}
}

// TestNothingRacesWhile has the same happen to programs that report data races.
func TestNothingRacesWhile(t *testing.T) {
	t.Parallel()
	for name, disturb := range disturbances {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, quiet).underRaceDetector(t).start()
			failures := s.hammer(4, 100, func() {
				for round := range 2 {
					disturb(s, round)
				}
			})
			if len(failures) > 0 {
				t.Errorf("%d requests failed, the first: %v", len(failures), failures[0])
			}
		})
	}
}

// kills is how often a responder is killed: three times, or as often as
// KILLS says. After each further one the monitor waits two seconds more.
func kills() int {
	if n, err := strconv.Atoi(os.Getenv("KILLS")); err == nil {
		return n
	}
	return 3
}

func TestKillingKCMCostsNoMoreThanTheRequestsInFlight(t *testing.T) {
	t.Parallel()
	const clients = 8
	kills := kills()
	s := newSystem(t, quiet).start()
	failures := s.hammer(clients, 200, func() {
		for range kills {
			if _, err := s.kcm().Call(protocol.OpGetDefaultCache, nil); err != nil {
				t.Error(err)
			}
			s.killHard("sssd_kcm")
		}
	})
	t.Logf("%d kills, %d requests failed", kills, len(failures))
	if len(failures) > clients*kills {
		t.Errorf("%d requests failed, the last: %v", len(failures), failures[len(failures)-1])
	}
	for _, err := range failures {
		if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT) {
			t.Errorf("a client was refused: %v", err)
		}
	}
}

func TestARestartReplacesAResponderOnlyForOptionsThatNeedIt(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "[sssd]\n").start()
	c := s.kcm()
	before := 0
	for _, step := range []struct {
		name     string
		conf     string
		replaced bool
	}{
		{"the first client", "[kcm]\n", true},
		{"nothing new", "[kcm]\n# nothing\n", false},
		{"a live option", "[kcm]\ndebug_level = 6\nmax_uid_ccaches = 7\n", false},
		{"an option that needs a restart", "[kcm]\nfd_limit = 512\n", true},
	} {
		s.configure(step.conf)
		s.sh(user(os.Getuid()), `"$BIN"/sssctl --root "$ROOT" restart`)
		if _, err := c.Call(protocol.OpGetDefaultCache, nil); err != nil {
			t.Fatal(err)
		}
		pid := s.pid("sssd_kcm")
		if replaced := pid != before; replaced != step.replaced {
			t.Errorf("%s: replaced %v, expected %v", step.name, replaced, step.replaced)
		}
		before = pid
		status := s.sh(user(os.Getuid()), `"$BIN"/sssctl --root "$ROOT" status`)
		generations := map[string]bool{}
		for _, line := range strings.Split(strings.TrimSpace(status), "\n")[1:] {
			if fields := strings.Fields(line); len(fields) > 5 && fields[1] == "running" {
				generations[fields[5]] = true
			}
		}
		if len(generations) != 1 {
			t.Errorf("%s: several generations:\n%s", step.name, status)
		}
	}
}

func TestCachesInMemoryOutliveRestartsAndTheDeathOfSssd(t *testing.T) {
	t.Parallel()
	needDefaultLevel(t)
	s := newSystem(t, "[kcm]\nccache_storage = memory\n").start()
	name := fmt.Sprint(os.Getuid())
	c := s.kcm()
	if err := c.Initialize(name, principal("alice")); err != nil {
		t.Fatal(err)
	}
	me := user(os.Getuid())
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"a restart in order", func() { s.sh(me, `"$BIN"/sssctl --root "$ROOT" restart`) }},
		{"a restart with a new level", func() {
			s.configure("[kcm]\nccache_storage = memory\ndebug_level = 6\n")
			s.sh(me, `"$BIN"/sssctl --root "$ROOT" restart`)
			expect(t, s.sh(me, `"$BIN"/sssctl --root "$ROOT" debug-level --kcm`), "0x07f0")
		}},
		{"the death of sssd", func() { s.kill(syscall.SIGKILL); s.start() }},
		{"a restart after that", func() { s.sh(me, `"$BIN"/sssctl --root "$ROOT" restart`) }},
	} {
		step.do()
		for what, client := range map[string]*kcmClient{"old": c, "new": s.kcm()} {
			if _, err := client.Call(protocol.OpGetPrincipal, protocol.AppendName(nil, name)); err != nil {
				t.Errorf("after %s, the %s client: %v", step.name, what, err)
			}
		}
	}
	// Nothing can save them from its own death, but the socket lives on.
	s.killHard("sssd_kcm")
	c = s.kcm()
	for range 100 {
		if _, err := c.Call(protocol.OpGetDefaultCache, nil); err == nil {
			return
		}
		c.reset()
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("nobody takes over the socket of a responder that had outlived its monitor")
}
