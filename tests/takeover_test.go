package tests

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"gosssd/layout"
)

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
