package logins

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gosssd/linux"
)

const bootID = "6b4e0c4e-9d3c-4f5e-8f61-0c1e3a7b9d20\n"

// fake is a machine whose control groups are directories of the test.
type fake struct {
	*Machine
	t *testing.T
}

func newFake(t *testing.T) fake {
	t.Helper()
	dir := t.TempDir()
	f := fake{t: t}
	for _, name := range []string{"groups/user.slice/user-1000.slice/session-3.scope", "groups/user.slice/user-1000.slice/user@1000.service", "groups/system.slice"} {
		f.must(os.MkdirAll(filepath.Join(dir, name), 0o755))
	}
	m, err := open(filepath.Join(dir, "groups"), filepath.Join(dir, "proc"), bootID)
	f.must(err)
	f.Machine = m
	return f
}

func (f fake) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// in returns this process with what /proc would say of its control group.
func (f fake) in(cgroup string) *linux.Process {
	f.t.Helper()
	p, err := linux.OpenProcess(os.Getpid())
	f.must(err)
	f.t.Cleanup(p.Close)
	dir := filepath.Join(f.proc, fmt.Sprint(p.PID))
	f.must(os.MkdirAll(dir, 0o755))
	f.must(os.WriteFile(filepath.Join(dir, "cgroup"), []byte(cgroup), 0o600))
	return p
}

func TestASessionIsFoundByTheControlGroup(t *testing.T) {
	f := newFake(t)
	for cgroup, want := range map[string]struct {
		session string
		user    bool
	}{
		"0::/user.slice/user-1000.slice/session-3.scope\n":                          {"3", true},
		"9:name=systemd:/x\n0::/user.slice/user-1000.slice/session-3.scope/below\n": {"3", true},
		"0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope\n":      {"", true},
		"0::/user.slice/user-1000.slice/user@1000.service/session-3.scope\n":        {"", true},
		"0::/user.slice/user-1001.slice/session-3.scope\n":                          {"", false},
		"0::/user.slice/user-10000.slice/session-3.scope\n":                         {"", false},
		"0::/user.slice/user-1000.slice/session-4.scope\n":                          {"", true}, // which is not there any more
		"0::/user.slice/user-1000.slice/session-..%2f.scope\n":                      {"", true},
		"0::/system.slice/sshd.service\n":                                           {"", false},
		"0::/system.slice/user.slice/user-1000.slice/session-3.scope\n":             {"", false},
		"0::/../../user.slice/user-1000.slice/session-3.scope\n":                    {"", false},
		"1:name=systemd:/user.slice/user-1000.slice/session-3.scope\n":              {"", false},
		"0::/\n": {"", false},
		"":       {"", false},
	} {
		place := f.Place(f.in(cgroup), 1000)
		if place.Session.Name != want.session || (place.User != Session{}) != want.user {
			t.Errorf("%q is %+v", cgroup, place)
		}
	}
	if place := f.Place(f.in("0::/user.slice/user-1000.slice/session-3.scope\n"), 1001); place != (Place{}) {
		t.Errorf("another user's session is taken: %+v", place)
	}
}

func TestASessionIsOverOnlyForCertain(t *testing.T) {
	f := newFake(t)
	s := f.Place(f.in("0::/user.slice/user-1000.slice/session-3.scope\n"), 1000).Session
	if s == (Session{}) {
		t.Fatal("no session")
	}
	scope := f.path(1000, "3")
	is := func(what string, s Session, want bool) {
		t.Helper()
		if over := f.Ended(s); over != want {
			t.Errorf("%s: over %v, want %v", what, over, want)
		}
	}
	is("it is there", s, false)
	earlier := s
	earlier.Boot[3]++
	is("it is of an earlier boot, whose numbers are given again", earlier, true)
	foreign := s
	foreign.Root++
	foreign.Name = "77"
	is("it is of another container", foreign, false)
	f.must(os.Rename(scope, scope+".old")) // so that the number of the inode is not given again
	f.must(os.Mkdir(scope, 0o755))
	is("its number was given again", s, true)
	f.must(os.Remove(scope))
	is("it is gone", s, true)
	f.must(os.Rename(f.groups, f.groups+".away"))
	is("no control group is to be seen", s, false)
	f.must(os.Mkdir(f.groups, 0o755))
	is("other control groups are to be seen", s, false)
}

func TestAWatchTellsWhoseSessionHasEnded(t *testing.T) {
	f := newFake(t)
	w, err := f.Watch()
	f.must(err)
	f.must(w.Follow(1000))
	f.must(w.Follow(1000))
	if err := w.Follow(1001); !errors.Is(err, unix.ENOENT) {
		t.Errorf("a user without sessions is followed: %v", err)
	}
	next := func(want uint32) {
		t.Helper()
		if uid, open := w.Next(); !open || uid != want {
			t.Errorf("told of %d, %v; want %d", uid, open, want)
		}
	}
	f.must(os.Remove(f.path(1000, "3")))
	next(1000)
	f.must(os.Remove(filepath.Join(f.path(1000, ""), "user@1000.service")))
	next(1000)
	f.must(os.Remove(f.path(1000, "")))
	next(1000)
	f.must(os.MkdirAll(f.path(1000, "5"), 0o755)) // he logs in again
	f.must(w.Follow(1000))
	f.must(os.Remove(f.path(1000, "5")))
	next(1000)
	time.AfterFunc(time.Millisecond, func() { _ = w.Close() })
	if _, open := w.Next(); open {
		t.Error("a closed watch goes on")
	}
}

func TestWhatCannotBeWatchedIsSaid(t *testing.T) {
	for _, id := range []string{"", "x", bootID[:20]} {
		if _, err := open(t.TempDir(), "/proc", id); !errors.Is(err, ErrNone) {
			t.Errorf("boot %q: %v", id, err)
		}
	}
	if _, err := open("/nonexistent", "/proc", bootID); !errors.Is(err, ErrNone) {
		t.Errorf("no control groups: %v", err)
	}
}
