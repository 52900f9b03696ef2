package tests

import (
	"bytes"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
)

// raced is where there are programs that report data races.
var raced struct {
	once sync.Once
	dir  string
	err  error
}

// underRaceDetector lets the system run programs that were built with -race,
// and fails the test if they report a race.
func (s *system) underRaceDetector(t *testing.T) *system {
	t.Helper()
	needProgram(t, "cc")
	raced.once.Do(func() {
		raced.dir = filepath.Join(scratch, "race")
		build := exec.Command("go", "build", "-race", "-o", raced.dir+"/", "gosssd/cmd/...")
		build.Env = append(os.Environ(), "CGO_ENABLED=1")
		if out, err := build.CombinedOutput(); err != nil {
			raced.err = fmt.Errorf("%w\n%s", err, out)
		}
	})
	if raced.err != nil {
		t.Fatal(raced.err)
	}
	s.bin = raced.dir
	s.env = append(s.env, "BIN="+s.bin)
	reports := s.path("/race")
	s.more = append(s.more, "GORACE=atexit_sleep_ms=0 log_path="+reports) // by default each program waits a second for reports of others
	t.Cleanup(func() {
		s.stop()
		found, err := filepath.Glob(reports + ".*")
		if err != nil {
			t.Error(err)
		}
		for _, name := range found {
			text, err := os.ReadFile(name)
			t.Errorf("%s\n%v", text, err)
		}
	})
	return s
}

// detects says whether the race detector is at work in a responder.
func (s *system) detects(program string) bool {
	info, err := buildinfo.ReadFile(s.bin + "/" + program)
	if err != nil {
		s.t.Fatal(err)
	}
	environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", s.pid(program)))
	if err != nil {
		s.t.Fatal(err)
	}
	raced := slices.ContainsFunc(info.Settings, func(setting debug.BuildSetting) bool { return setting.Key == "-race" && setting.Value == "true" })
	return raced && bytes.Contains(environment, []byte("log_path="))
}

func TestACrowdOfClientsLosesNothing(t *testing.T) {
	t.Parallel()
	needRealm(t)
	for _, storage := range storages {
		t.Run(storage, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, kept(storage))
			s.underRaceDetector(t).start()
			s.sh(somebody(), login+`login alice`)
			if !s.detects("sssd_kcm") || storage == "secrets" && !s.detects("sssd_secrets") {
				t.Fatal("the race detector is not at work")
			}
			logInAllAtOnce(t, s)
			listAllAtOnce(t, s)
			hammer(t, s)
		})
	}
}

// logInAllAtOnce is 20 principals of one user. The user has a cache before:
// a kinit that finds none takes the default name, and so would all of them.
func logInAllAtOnce(t *testing.T, s *system) {
	u := somebody()
	s.sh(u, login+atOnce+`atOnce 20 'login u$i'`)
	out := s.sh(u, `klist -A`)
	for i := range 20 {
		if n := strings.Count(out, fmt.Sprintf("Default principal: u%d@EXAMPLE.TEST\n", i+1)); n != 1 {
			t.Errorf("u%d has %d caches", i+1, n)
		}
	}
	is(t, s, u, `caches; klist -A | grep -c krbtgt; for c in $(klist -l | sed -n 's/.*@[^ ]* *\(KCM:.*\)/\1/p'); do KRB5CCNAME=$c kvno -q host/server.example.test; done
		klist -A | grep -c host/server`, "21\n21\n21")
}

// atOnce runs a script for i from 1 to a number, all in parallel; it fails if
// one fails.
const atOnce = `
atOnce() {
	pids=""
	for i in $(seq $1); do (eval "$2") & pids="$pids $!"; done
	for pid in $pids; do wait $pid; done
}
`

func listAllAtOnce(t *testing.T, s *system) {
	is(t, s, somebody(), atOnce+`dir=$(mktemp -d); atOnce 200 'klist -A >$dir/$i'; cat $dir/* | sort | uniq -c | awk '{print $1 % 200}' | sort -u
		ls $dir | wc -l; rm -r "$dir"`, "0\n200")
}

// hammer has two users, where there are two, do everything at once; what they
// store meanwhile over connections of their own has to be there in the end.
func hammer(t *testing.T, s *system) {
	users := everybody()
	users = users[max(0, len(users)-2):]
	var all sync.WaitGroup
	for _, u := range users {
		all.Go(func() {
			out, err := s.try(u, login+atOnce+`atOnce 4 'for round in 1 2 3; do
				export KRB5CCNAME=KCM:$(id -u):h$i
				login alice; kvno -q host/server.example.test; test "$(primary)" = alice; klist | grep -q host/; kdestroy; ! klist -s
			done'`)
			if err != nil {
				t.Errorf("uid %d: %v\n%s", u, err, out)
			}
		})
		for worker := range 3 {
			c := s.kcm()
			all.Go(func() { storeMany(t, c, fmt.Sprintf("%d:w%d", u, worker)) })
		}
	}
	all.Wait()
}

// storeMany makes a cache and sees that each of many stores is kept.
func storeMany(t *testing.T, c *kcmClient, name string) {
	const tickets = 60
	if err := c.Initialize(name, principal("alice")); err != nil {
		t.Error(err)
		return
	}
	var want []string
	for i := range tickets {
		want = append(want, fmt.Sprint(i))
		if err := c.store(name, principal("alice"), want[i]); err != nil {
			t.Error(err)
		}
	}
	if got, err := c.services(name); err != nil || !slices.Equal(got, want) {
		t.Errorf("%s holds %v (%v), expected %d tickets in order", name, got, err, tickets)
	}
}
