package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// analysis is part of what sssctl analyze --json prints.
type analysis struct {
	Clients  []struct{ Process, CID, PID, Requests, Unserved int }
	Requests []struct {
		Process                 int
		Op, Event, Cache, Code  string
		Took                    *float64
		More                    map[string]string
		Reason, Principal, Time string
	}
	Notes []string
}

func (s *system) analyze(args ...string) (a analysis) {
	s.t.Helper()
	got := s.ctl(user(os.Getuid()), "", append([]string{"analyze", "-j"}, args...)...)
	if err := json.Unmarshal([]byte(got.stdout), &a); err != nil || got.code != 0 {
		s.t.Fatalf("%v: %+v", err, got)
	}
	return a
}

// TestAnalyzeTellsWhatAClientDid reads lines that sssd_kcm writes, at the level
// at which each request is there, and before.
func TestAnalyzeTellsWhatAClientDid(t *testing.T) {
	t.Parallel()
	needDefaultLevel(t)
	s := newSystem(t, "")
	s.configure("[kcm]\nmax_uid_ccaches = 1\n")
	s.start()
	me := fmt.Sprint(os.Getuid())
	if err := s.kcm().Initialize(me, principal("alice")); err != nil {
		t.Fatal(err)
	}
	if err := s.kcm().Initialize(me+":b", principal("bob")); err == nil {
		t.Fatal("there is no limit")
	}
	s.awaitLog("sssd_kcm", "request refused")
	a := s.analyze("--user", me)
	if len(a.Requests) != 1 || a.Requests[0].Event != "refused" || a.Requests[0].Code != "EDQUOT" || a.Requests[0].Cache != me+":b" ||
		!strings.Contains(strings.Join(a.Notes, " "), "debug_level 6") {
		t.Errorf("at the default level: %+v", a)
	}

	s.ctl(user(os.Getuid()), "", "debug-level", "9", "--kcm")
	c := s.kcm()
	if err := c.Initialize(me, principal("carol")); err != nil {
		t.Fatal(err)
	}
	s.awaitLog("sssd_kcm", "request served: op=INITIALIZE")
	a = s.analyze("--pid", fmt.Sprint(os.Getpid()))
	last := a.Requests[len(a.Requests)-1]
	if last.Op != "INITIALIZE" || last.Event != "served" || last.Took == nil || last.Principal != "carol@EXAMPLE.TEST" || last.More["bytes"] == "" || len(a.Notes) != 0 {
		t.Errorf("at level 9: %+v, notes %q", last, a.Notes)
	}
	if a = s.analyze("--user", "4711"); len(a.Requests) != 0 || len(a.Notes) != 1 {
		t.Errorf("a user who asked for nothing: %+v", a)
	}
	if a = s.analyze(); len(a.Clients) < 2 || len(a.Requests) != 0 {
		t.Errorf("without a choice: %+v", a)
	}
}

func TestAnalyzeSaysWhereThereIsNothingToRead(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	for args, want := range map[string]string{
		"": "there is no log of sssd_kcm", "--journal": "choose one of --journal and --root", "--since yesterday": `"yesterday" is no time`,
		"--user nobody-of-this-name": "there is no user", "--cid x": "--cid",
	} {
		got := s.ctl(user(os.Getuid()), "", append([]string{"analyze"}, strings.Fields(args)...)...)
		if got.code != 1 || !strings.Contains(got.stderr, want) || got.stdout != "" {
			t.Errorf("analyze %s: %+v, want %q", args, got, want)
		}
	}
}
