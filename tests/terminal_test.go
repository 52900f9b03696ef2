package tests

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo-terminal (pty(7)), of which the test is the user.
type terminal struct {
	*os.File
	t    *testing.T
	name string // of the end that programs get
	from *bufio.Reader
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	file, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		skip(t, "there are no pseudo-terminals here: "+err.Error())
	}
	t.Cleanup(func() { _ = file.Close() })
	number, err := unix.IoctlGetInt(int(file.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(file.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &terminal{file, t, fmt.Sprint("/dev/pts/", number), bufio.NewReader(file)}
}

// ask runs sssctl on the terminal, and types each answer after its question.
// It returns all that is seen on the terminal, and the exit code.
func (s *system) ask(term *terminal, args []string, dialogue ...string) (seen string, code int) {
	s.t.Helper()
	end, err := os.OpenFile(term.name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = end.Close() }()
	cmd := exec.Command(s.bin+"/"+s.form.Tool, append([]string{"--root", s.root}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = end, end, end
	cmd.Env, cmd.Dir = s.env, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	var all strings.Builder
	for i := 0; i < len(dialogue); i += 2 {
		asked := all.Len()
		for !strings.Contains(all.String()[asked:], dialogue[i]) {
			b, err := term.from.ReadByte()
			if err != nil {
				s.t.Fatalf("%v waiting for %q after %q", err, dialogue[i], all.String())
			}
			all.WriteByte(b)
		}
		// The question comes before the echo is off.
		await(func() bool { return !term.echoes() })
		if _, err := io.WriteString(term, dialogue[i+1]); err != nil {
			s.t.Fatal(err)
		}
	}
	_ = cmd.Wait() // its exit code says it
	fmt.Fprint(end, "\x00")
	rest, err := term.from.ReadString(0)
	if err != nil {
		s.t.Fatal(err)
	}
	return all.String() + rest, cmd.ProcessState.ExitCode()
}

func (term *terminal) echoes() bool {
	settings, err := unix.IoctlGetTermios(int(term.Fd()), unix.TCGETS)
	if err != nil {
		term.t.Fatal(err)
	}
	return settings.Lflag&unix.ECHO != 0
}

// A passphrase is asked for where nobody sees it, a new one twice.
func TestThePassphraseIsAskedForOnTheTerminal(t *testing.T) {
	t.Parallel()
	s, term := newSystem(t, kept("memory")).start(), newTerminal(t)
	c, me := s.kcm(), fmt.Sprint(os.Getuid())
	if err := c.Initialize(me, principal("alice")); err != nil {
		t.Fatal(err)
	}
	const first, again = "Passphrase: ", "The same again: "
	file := s.path("/caches.age")
	export := []string{"ccache", "export", "--user", me, "--passphrase", file}
	open := []string{"ccache", "import", "--passphrase", file}
	for _, step := range []struct {
		args     []string
		dialogue []string
		code     int
		says     string
	}{
		{export, []string{first, "open sesame\n", again, "open simsim\n"}, 1, "the two passphrases differ"},
		{export, []string{first, "\n", again, "\n"}, 1, "the passphrase is empty"},
		{export, []string{first, "open \x03"}, -1, ""}, // Ctrl-C, a signal
		{export, []string{first, "open sesame\n", again, "open sesame\n"}, 0, "users 1"},
		{open, []string{first, "close sesame\n"}, 1, "sealed for other keys, or with another passphrase"},
		{open, []string{first, "open sesame\n"}, 0, "present already 1"},
	} {
		_, err := os.Stat(file)
		seen, code := s.ask(term, step.args, step.dialogue...)
		if code != step.code || !strings.Contains(seen, step.says) || strings.Contains(seen, "sesame") {
			t.Errorf("%q: exit code %d, and the terminal shows\n%s", step.dialogue, code, seen)
		}
		if !term.echoes() {
			t.Errorf("%q: leaves the terminal without echo", step.dialogue)
		}
		if _, now := os.Stat(file); code != 0 && (now == nil) != (err == nil) {
			t.Errorf("%q: the file is there: %v", step.dialogue, now == nil)
		}
	}
}
