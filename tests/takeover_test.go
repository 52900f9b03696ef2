package tests

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"gosssd/layout"
)

// TestTheNextSssdGoesOnWithWhatIsThere has sssd killed, and looks what the next one
// does with the responders and their sockets.
func TestTheNextSssdGoesOnWithWhatIsThere(t *testing.T) {
	t.Parallel()
	const identity = "[kcm/socket box]\npath = /run/box.socket\nuser = nobody\n"
	s := newSystem(t, "[kcm]\n"+identity).start()
	name := fmt.Sprint(os.Getuid())
	if err := s.kcm().Initialize(name, principal("alice")); err != nil {
		t.Fatal(err)
	}
	paths := []string{"/var/run/.heim_org.h5l.kcm-socket", "/var/run/secrets.socket", "/run/box.socket"}
	for _, step := range []struct {
		name, conf string
		without    string // a path that is lost meanwhile
		replaced   bool
	}{
		{name: "nothing new", conf: "[kcm]\n" + identity},
		{name: "a live option", conf: "[kcm]\nmax_uid_ccaches = 7\n" + identity},
		{name: "an option that needs a restart", conf: "[kcm]\nfd_limit = 512\n" + identity, replaced: true},
		{name: "a socket was deleted", conf: "[kcm]\nfd_limit = 512\n" + identity, without: paths[0]},
	} {
		before, sockets := s.pid("sssd_kcm"), inodes(t, s, paths)
		s.configure(step.conf)
		s.kill(syscall.SIGKILL)
		if step.without != "" {
			if err := os.Remove(s.path(step.without)); err != nil {
				t.Fatal(err)
			}
		}
		s.start()
		if err := s.kcm().store(name, principal("alice"), step.name); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
		if replaced := s.pid("sssd_kcm") != before; replaced != step.replaced {
			t.Errorf("%s: sssd_kcm replaced: %t, want %t", step.name, replaced, step.replaced)
		}
		if now := inodes(t, s, paths); !slices.Equal(now, sockets) {
			t.Errorf("%s: sockets were made anew: %v, before %v", step.name, now, sockets)
		}
	}
}

func inodes(t *testing.T, s *system, paths []string) (list []uint64) {
	t.Helper()
	for _, path := range paths {
		var is syscall.Stat_t
		if err := syscall.Stat(s.path(path), &is); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		list = append(list, is.Ino)
	}
	return list
}

// TestADeadSssdHasReplacedAHungResponder has sssd killed when it has just asked a
// responder to end that hangs, and so cannot lend its socket. The next responder
// has one already, and serves when the hung one has ended.
func TestADeadSssdHasReplacedAHungResponder(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "[sssd]\ndebug_level = 6\n[kcm]\n").start()
	name := fmt.Sprint(os.Getuid())
	if err := s.kcm().Initialize(name, principal("alice")); err != nil {
		t.Fatal(err)
	}
	hung := s.pid("sssd_kcm")
	s.kill(syscall.SIGKILL)
	if err := syscall.Kill(hung, syscall.SIGSTOP); err != nil { // before, the kernel would have continued it then
		t.Fatal(err)
	}
	if err := os.Truncate(s.path("/var/log/sssd/"+layout.Current().Monitor+".log"), 0); err != nil {
		t.Fatal(err)
	}
	s.launch().Close()
	soon(t, func() bool {
		out, err := s.try(user(os.Getuid()), `"$TOOL" --root "$ROOT" status`)
		return err != nil && strings.Contains(out, "it is taking over")
	}, func() string { return "sssctl status does not say that sssd takes over" })
	soon(t, func() bool { return strings.Contains(s.log(layout.Current().Monitor), "ending a responder") },
		func() string { return "sssd does not end the responder that hangs" })
	s.kill(syscall.SIGKILL)
	if err := syscall.Kill(hung, syscall.SIGCONT); err != nil { // it sees that it is to end
		t.Fatal(err)
	}
	if err := s.kcm().store(name, principal("alice"), "ticket"); err != nil {
		t.Errorf("without sssd: %v", err)
	}
	s.start()
	if err := s.kcm().store(name, principal("alice"), "another"); err != nil {
		t.Errorf("with the next sssd: %v", err)
	}
	if pid := s.pid("sssd_kcm"); pid == 0 || pid == hung {
		t.Errorf("sssd_kcm is process %d, and %d hung", pid, hung)
	}
}
