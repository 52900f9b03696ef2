package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestKillingAnyProcessBetweenTwoKlistsChangesNothing(t *testing.T) {
	needRealm(t)
	t.Parallel()
	s := newSystem(t, defaults).start()
	me := user(os.Getuid())
	s.sh(me, `echo secret | kinit alice; kvno host/server.example.test; echo secret | kinit bob`)
	before := s.sh(me, `klist -A; klist -l`)
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"the death of sssd_kcm", func() { s.killHard("sssd_kcm") }},
		{"the death of sssd_secrets", func() { s.killHard("sssd_secrets") }},
		{"the death of both", func() { s.killHard("sssd_kcm"); s.killHard("sssd_secrets") }},
		{"the death of sssd", func() { s.kill(syscall.SIGKILL) }},
		{"the start of a new sssd", func() { s.start() }},
		{"the death of all", func() {
			s.kill(syscall.SIGKILL)
			s.killHard("sssd_kcm")
			s.killHard("sssd_secrets")
			s.start()
		}},
		{"an orderly restart", s.restart},
	} {
		step.do()
		if after := s.sh(me, `klist -A; klist -l`); after != before {
			t.Errorf("after %s:\n%s\nbefore:\n%s", step.name, after, before)
		}
		s.sh(me, `echo secret | kinit bob >/dev/null`) // wakes both responders
		before = s.sh(me, `klist -A; klist -l`)
	}
}

func TestNoAcknowledgedStoreIsLostWhenProcessesAreKilled(t *testing.T) {
	t.Parallel()
	s := newSystem(t, defaults).start()
	name, client := fmt.Sprint(os.Getuid()), principal("alice")
	c := s.kcm()
	if err := c.Initialize(name, client); err != nil {
		t.Fatal(err)
	}
	var acknowledged []string
	var failures []error
	victims := []string{"sssd_kcm", "sssd_secrets"}
	for round := range 6 {
		killed := make(chan struct{})
		go func() {
			defer close(killed)
			if pid := s.pid(victims[round%2]); pid != 0 {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}()
		for i := range 40 {
			service := fmt.Sprintf("%d-%d", round, i)
			if err := c.store(name, client, service); err == nil {
				acknowledged = append(acknowledged, service)
			} else {
				failures = append(failures, err)
				c.reset()
			}
		}
		<-killed
	}
	kept, err := s.kcm().services(name)
	if err != nil {
		t.Fatal(err)
	}
	var lost []string
	for _, service := range acknowledged {
		if !slices.Contains(kept, service) {
			lost = append(lost, service)
		}
	}
	t.Logf("acknowledged %d of 240 stores, lost %d", len(acknowledged), len(lost))
	if len(lost) > 0 || len(acknowledged) < 180 {
		t.Errorf("acknowledged %d of 240 stores, lost %v; failures: %v", len(acknowledged), lost, failures[:min(5, len(failures))])
	}
}

func TestNothingReadableIsOnDisk(t *testing.T) {
	needRealm(t)
	t.Parallel()
	s := newSystem(t, defaults).start()
	me := user(os.Getuid())
	s.sh(me, `echo secret | kinit alice; kvno host/server.example.test`)
	s.sh(me, `curl -sSf --unix-socket "$ROOT/var/run/secrets.socket" -X PUT -H 'Content-Type: application/json' \
		-d '{"type":"simple","value":"canary-in-a-secret"}' http://localhost/secrets/canary-name`)
	if err := s.kcm().store(fmt.Sprint(me), principal("alice"), "canary-in-a-ticket"); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"alice", "EXAMPLE.TEST", "krbtgt", "server.example", "canary"} {
		if found := s.search(word); len(found) > 0 {
			t.Errorf("%q is readable in %v", word, found)
		}
	}
	if len(s.search("generation")) == 0 && len(s.search("kcm")) == 0 {
		t.Error("the search finds nothing at all; it proves nothing")
	}
}

// search returns the files below var/lib/sss that contain a word.
func (s *system) search(word string) []string {
	s.t.Helper()
	var found []string
	err := filepath.Walk(s.path("/var/lib/sss"), func(path string, info os.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if strings.Contains(string(b), word) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return found
}
