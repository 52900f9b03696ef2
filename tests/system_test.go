// Package tests runs the built programs end to end, with real clients of MIT
// krb5 and Heimdal, a real KDC and the D-Bus tools.
package tests

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gosssd/layout"
)

// programs is where TestMain has built the programs; scratch is a directory
// that every user may enter.
var programs, scratch string

// patience is how long the tests wait for what takes milliseconds on a machine
// with nothing else to do.
const patience = time.Minute

// skipped counts what this run could not show.
var skipped struct {
	sync.Mutex
	tests []string
}

// ending is what goes when all tests are over.
var ending struct {
	sync.Mutex
	stops []func()
}

func atEnd(stop func()) {
	ending.Lock()
	defer ending.Unlock()
	ending.stops = append(ending.stops, stop)
}

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	var err error
	if scratch, err = os.MkdirTemp("", "gosssd-tests-"); err != nil {
		panic(err)
	}
	defer os.RemoveAll(scratch)
	if err := os.Chmod(scratch, 0o755); err != nil {
		panic(err)
	}
	if err := os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin"); err != nil {
		panic(err)
	}
	programs = filepath.Join(scratch, "bin")
	build := exec.Command("go", "build", "-o", programs+"/", "gosssd/cmd/...")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	code := m.Run()
	if loud {
		searched.tell()
	}
	for _, stop := range ending.stops {
		stop()
	}
	if n := len(skipped.tests); n > 0 {
		fmt.Fprintf(os.Stderr, "SKIPPED %d tests of the system:\n\t%s\n", n, strings.Join(skipped.tests, "\n\t"))
	}
	return code
}

// skip skips a test loudly.
func skip(t *testing.T, why string) {
	t.Helper()
	skipped.Lock()
	skipped.tests = append(skipped.tests, t.Name()+": "+why)
	skipped.Unlock()
	t.Skip(why)
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		skip(t, "needs root")
	}
}

func needProgram(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			skip(t, "needs "+name)
		}
	}
}

// publicDir makes a directory that every user may enter. It goes when all tests
// are over.
func publicDir(t testing.TB, prefix string) string {
	t.Helper()
	dir, err := os.MkdirTemp(scratch, prefix)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// writeProgram is os.WriteFile for what is to be run. A process that another
// test forks meanwhile would have the file open for writing until it executes
// its own program, and "text file busy" would be the answer till then.
func writeProgram(path string, text []byte, mode os.FileMode) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, text, mode)
}

// system is one sssd with its responders below a root of its own.
type system struct {
	t     testing.TB
	form  layout.Layout
	root  string
	bin   string   // where its programs are
	args  []string // of sssd, besides --root
	env   []string // that points clients at it
	more  []string // of sssd's environment
	wrap  []string // a program, with its arguments, that is to execute sssd
	known known    // secrets that no log may show

	sssd   *exec.Cmd
	ended  chan struct{} // closed when sssd has ended
	output *bytes.Buffer // what sssd wrote to stderr; to be read after it has ended
}

// newSystem lays out a root whose sssd.conf is conf.
func newSystem(t testing.TB, conf string) *system {
	t.Helper()
	return newSystemOf(t, layout.Current(), conf)
}

// newSystemOf is newSystem with the programs of a form of the product.
func newSystemOf(t testing.TB, form layout.Layout, conf string) *system {
	t.Helper()
	bin := programsOf(t, form)
	root := publicDir(t, "root-")
	s := &system{t: t, form: form, root: root, bin: bin, args: []string{"-i", "--logger=files"}}
	s.configure(conf)
	socket := s.path("/var/run/.heim_org.h5l.kcm-socket")
	s.env = []string{
		"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TZ=UTC", "HOME=/nonexistent",
		"KRB5_CONFIG=" + s.krb5Conf("default_ccache_name = KCM:", "kcm_socket = "+socket),
		"ROOT=" + root, "BIN=" + bin, "MONITOR=" + bin + "/" + form.Monitor, "TOOL=" + bin + "/" + form.Tool,
		"BUS=unix:path=" + s.path(form.Bus),
	}
	t.Cleanup(func() {
		s.stop()
		for _, leak := range s.leaks() {
			t.Error(leak)
		}
		if t.Failed() {
			s.dumpLogs()
		}
	})
	return s
}

func (s *system) path(p string) string { return filepath.Join(s.root, p) }

// configure writes sssd.conf.
func (s *system) configure(conf string) {
	s.t.Helper()
	s.write("/etc/sssd/sssd.conf", conf, 0o600)
}

func (s *system) write(path, text string, mode os.FileMode) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Dir(s.path(path)), 0o755); err != nil {
		s.t.Fatal(err)
	}
	write := os.WriteFile
	if mode&0o111 != 0 {
		write = writeProgram
	}
	if err := write(s.path(path), []byte(text), mode); err != nil {
		s.t.Fatal(err)
	}
}

// start starts sssd and returns when it has said that it is ready.
func (s *system) start() *system {
	s.t.Helper()
	notices := s.launch()
	defer notices.Close()
	go func(ended chan struct{}) {
		<-ended
		notices.Close()
	}(s.ended)
	if err := notices.SetReadDeadline(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	b := make([]byte, 4096)
	for output := s.output; ; {
		n, err := notices.Read(b)
		if err != nil {
			s.kill(syscall.SIGKILL) // and all its output is here
			s.t.Fatalf("sssd does not get ready: %v\n%s", err, output.String())
		}
		if bytes.Contains(b[:n], []byte("READY=1")) {
			return s
		}
	}
}

// launch starts sssd and returns at once. It says on notices when it is ready,
// which the caller closes.
func (s *system) launch() (notices *net.UnixConn) {
	s.t.Helper()
	address := &net.UnixAddr{Name: s.path("/notify"), Net: "unixgram"}
	_ = os.Remove(address.Name)
	notices, err := net.ListenUnixgram("unixgram", address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.output = &bytes.Buffer{}
	argv := slices.Concat(s.wrap, []string{s.bin + "/" + s.form.Monitor}, s.args, []string{"--root", s.root})
	if loud {
		argv = append(argv, "--debug-level=10")
	}
	s.sssd = exec.Command(argv[0], argv[1:]...)
	if os.Getenv("CONFINED") != "" {
		s.sssd = confinedCommand(s.sssd.Args)
	}
	s.sssd.Env = slices.Concat(os.Environ(), s.more, []string{"NOTIFY_SOCKET=" + address.Name})
	s.sssd.Stderr = s.output
	s.sssd.WaitDelay = time.Second
	if err := s.sssd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		_ = cmd.Wait()
		close(ended)
	}(s.sssd, s.ended)
	return notices
}

// confinedCommand runs a program with the capabilities, the umask and without
// the new privileges of the units, so that CONFINED=yes go test ./tests shows as
// root that nothing needs more.
func confinedCommand(argv []string) *exec.Cmd {
	const confine = `umask 077; exec setpriv --bounding-set=-all,+dac_override --inh-caps=-all --no-new-privs "$@"`
	return exec.Command("sh", append([]string{"-c", confine, "sh"}, argv...)...)
}

// kill sends a signal to sssd and waits for its end.
func (s *system) kill(signal os.Signal) {
	if s.sssd == nil {
		return
	}
	_ = s.sssd.Process.Signal(signal)
	select {
	case <-s.ended:
	case <-time.After(patience):
		for _, pid := range []int{s.sssd.Process.Pid, s.pid("sssd_kcm"), s.pid("sssd_secrets")} {
			if pid != 0 {
				_ = syscall.Kill(pid, syscall.SIGQUIT) // for the stacks of all goroutines
			}
		}
		<-s.ended
		s.t.Errorf("sssd does not end on %v:\n%s", signal, s.output)
	}
	s.sssd = nil
}

// stop ends the system in order, and then whatever is left of it.
func (s *system) stop() {
	s.kill(syscall.SIGTERM)
	for _, program := range []string{"sssd_kcm", "sssd_secrets", "sssd_hello"} {
		if pid := s.pid(program); pid != 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

func (s *system) restart() {
	s.t.Helper()
	s.kill(syscall.SIGTERM)
	s.start()
}

// pid is the process of a responder, or 0.
func (s *system) pid(program string) int {
	b, err := os.ReadFile(s.path("/run/" + program + ".pid"))
	if err != nil {
		return 0
	}
	var pid int
	_, _ = fmt.Sscan(string(b), &pid)
	return pid
}

// killHard kills a responder with SIGKILL and returns when it is gone.
func (s *system) killHard(program string) {
	s.t.Helper()
	pid := s.pid(program)
	if pid == 0 {
		s.t.Fatalf("%s does not run", program)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); syscall.Kill(pid, 0) == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s survives SIGKILL", program)
		}
	}
}

// user is who runs a client.
type user uint32

// sh runs a shell script as a user against the system and returns its output;
// the script must succeed.
func (s *system) sh(u user, script string) string {
	s.t.Helper()
	out, err := s.try(u, script)
	if err != nil {
		s.t.Fatalf("uid %d: %s\n%s%v", u, script, out, err)
	}
	return out
}

// shFails runs a script that must fail, and returns its output.
func (s *system) shFails(u user, script string) string {
	s.t.Helper()
	out, err := s.try(u, script)
	if err == nil {
		s.t.Fatalf("uid %d: succeeds: %s\n%s", u, script, out)
	}
	return out
}

func (s *system) try(u user, script string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-euc", script)
	cmd.Env = s.env
	cmd.Dir = "/"
	if int(u) != os.Getuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(u), Gid: uint32(u)}}
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (s *system) log(name string) string {
	b, _ := os.ReadFile(s.path("/var/log/sssd/" + name + ".log"))
	return string(b)
}

func (s *system) dumpLogs() {
	for _, name := range []string{s.form.Monitor, "sssd_kcm", "sssd_secrets"} {
		text := s.log(name)
		s.t.Logf("%s.log:\n%s", name, text[max(0, len(text)-8000):])
	}
}
