package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"gosssd/kcm/client"
	"gosssd/tests/dial"
)

// side is one of the programs that are compared.
type side struct {
	name, version string
	bin           string // ours: where its programs are
	debian        bool
	heimdal       bool   // Heimdal's kcm, which has nothing on disk
	overlay, tree string // of Debian's
}

// server is one side that runs in a directory of its own.
type server struct {
	*side
	dir     string
	process *exec.Cmd     // our sssd
	ended   chan struct{} // closed when it has ended
	starter *starter      // stands for systemd, for Debian's
	next    uint32        // a user who has nothing yet
	clock   string        // the file that steps the clock of ours; "" if none can be
}

// options are how a server differs from one with default settings.
type options struct {
	conf string // of ours
	disk string // size of the small file system with its databases

	clock bool // our programs are built with a clock that can be stepped
}

func (s *server) socket() string {
	if s.debian || s.heimdal {
		return s.dir + "/run/.heim_org.h5l.kcm-socket"
	}
	return s.dir + "/var/run/.heim_org.h5l.kcm-socket"
}

// data is the directory that is /var/lib/sss for the server.
func (s *server) data() string { return s.dir + "/var/lib/sss" }

// database is the file with the tickets of default settings.
func (s *server) database() string {
	if s.debian {
		return s.data() + "/secrets/secrets.ldb"
	}
	return s.data() + "/secrets/secrets.db"
}

// start starts a server in an empty directory and waits for its first answer.
func (sd *side) start(dir string, o options) (*server, error) {
	s := &server{side: sd, dir: dir, next: 30000}
	for _, sub := range []string{"/var/lib/sss", "/var/log/sssd", "/etc/sssd/conf.d", "/run", "/bin"} {
		if err := os.MkdirAll(dir+sub, 0o755); err != nil {
			return nil, err
		}
	}
	if o.disk != "" {
		if err := syscall.Mount("tmpfs", s.data(), "tmpfs", 0, "mode=755,size="+o.disk); err != nil {
			return nil, fmt.Errorf("mount a small disk: %w", err)
		}
	}
	for _, sub := range []string{"/db", "/secrets", "/pipes/private", "/mc"} {
		if err := os.MkdirAll(s.data()+sub, 0o700); err != nil {
			return nil, err
		}
	}
	if o.clock {
		if err := s.clockFile(); err != nil {
			return nil, err
		}
	}
	if o.conf == "" && s.debian {
		o.conf = "[sssd]\n[kcm]\n"
	}
	if err := os.WriteFile(dir+"/etc/sssd/sssd.conf", []byte(o.conf), 0o600); err != nil {
		return nil, err
	}
	if s.debian {
		s.starter = &starter{s: s}
		if err := s.starter.listen(); err != nil {
			return nil, err
		}
	} else if err := s.startProgram(); err != nil {
		return nil, err
	}
	if took := s.await(20*time.Second, s.answers); took < 0 {
		s.stop()
		return nil, fmt.Errorf("%s does not answer:\n%s", s.name, s.log(0))
	}
	return s, nil
}

func (s *server) startProgram() error {
	if s.heimdal {
		return s.run(exec.Command(s.overlay, s.tree, "sh", "-euc", heimdalStart, s.dir))
	}
	return s.startOurs()
}

const heimdalStart = `
mount --bind "$0/run" /run
exec /usr/sbin/kcm --config-file=/dev/null`

// startOurs starts sssd, from a copy of its programs that a fault may remove.
func (s *server) startOurs() error {
	for _, program := range []string{"sssd", "sssd_kcm", "sssd_secrets"} {
		if err := copyFile(filepath.Join(s.bin, program), s.dir+"/bin/"+program); err != nil {
			return err
		}
	}
	cmd := exec.Command(s.dir+"/bin/sssd", "-i", "--logger=files", "--root", s.dir)
	cmd.Env = s.environment()
	return s.run(cmd)
}

// environment is that of our programs.
func (s *server) environment() []string {
	if s.clock == "" {
		return os.Environ()
	}
	return append(os.Environ(), clockVariable+"="+s.clock)
}

func (s *server) run(cmd *exec.Cmd) error {
	s.process = cmd
	s.process.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM}
	output, err := os.OpenFile(s.dir+"/var/log/sssd/output", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer output.Close()
	s.process.Stdout, s.process.Stderr = output, output
	if err := startSession(s.process); err != nil {
		return err
	}
	s.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		_ = cmd.Wait()
		close(ended)
	}(s.process, s.ended)
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if errors.Is(err, syscall.ETXTBSY) { // it is there, and runs
		return nil
	} else if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func (s *server) answers() error {
	c := s.client(0, 5*time.Second)
	defer c.Close()
	_, err := c.Default()
	return err
}

// await tries something until it succeeds, and returns how long that took, or
// -1 if it did not.
func (s *server) await(limit time.Duration, try func() error) time.Duration {
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if try() == nil {
			return time.Since(begin)
		}
		if time.Since(begin) > limit {
			return -1
		}
	}
}

// client is a client of a user.
func (s *server) client(uid uint32, patience time.Duration) *client.Client {
	return client.Over(func() (io.ReadWriteCloser, error) { return connect(uid, s.socket()) }, patience)
}

// connect waits for room in the backlog.
func connect(uid uint32, socket string) (conn net.Conn, err error) {
	for range 1000 {
		if conn, err = dial.As(uid, socket); !errors.Is(err, syscall.EAGAIN) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return conn, err
}

// pid is the process of a responder, "sssd_kcm" or "sssd_secrets", or 0.
func (s *server) pid(program string) int {
	switch {
	case program == "sssd_kcm" && s.debian:
		return s.starter.pid()
	case program == "sssd_kcm" && s.heimdal:
		select {
		case <-s.ended:
			return 0
		default:
			return s.process.Process.Pid
		}
	case s.debian || s.heimdal:
		return 0
	}
	var pid int
	b, _ := os.ReadFile(s.dir + "/run/" + program + ".pid")
	_, _ = fmt.Sscan(string(b), &pid)
	if exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); exe != s.dir+"/bin/"+program {
		return 0
	}
	return pid
}

func (s *server) signal(program string, signal syscall.Signal) {
	if pid := s.pid(program); pid != 0 {
		_ = syscall.Kill(pid, signal)
	}
}

// kill kills all responders and waits until they are gone.
func (s *server) kill() {
	for _, program := range []string{"sssd_kcm", "sssd_secrets"} {
		pid := s.pid(program)
		s.signal(program, syscall.SIGKILL)
		s.await(5*time.Second, func() error {
			if pid != 0 && s.pid(program) == pid {
				return errors.New("not gone")
			}
			return nil
		})
	}
}

// stop ends the server and whatever is left of it.
func (s *server) stop() {
	for _, program := range []string{"sssd_kcm", "sssd_secrets"} {
		s.signal(program, syscall.SIGCONT)
	}
	if s.starter != nil {
		s.starter.stop()
		return
	}
	pids := []int{s.pid("sssd_kcm"), s.pid("sssd_secrets")}
	_ = s.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(10 * time.Second):
		_ = s.process.Process.Kill()
		<-s.ended
	}
	for _, pid := range append(pids, s.pid("sssd_kcm"), s.pid("sssd_secrets")) {
		if exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); pid != 0 && strings.HasPrefix(exe, s.dir) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// restart stops the server and starts it again where it was.
func (s *server) restart() error {
	s.stop()
	if s.debian {
		s.starter = &starter{s: s}
		return s.starter.listen()
	}
	return s.startProgram()
}

// log is what the administrator can read, from a place on.
func (s *server) log(from int) string {
	var text strings.Builder
	files, _ := os.ReadDir(s.dir + "/var/log/sssd")
	for _, f := range files {
		b, _ := os.ReadFile(s.dir + "/var/log/sssd/" + f.Name())
		text.Write(b)
	}
	return text.String()[min(from, text.Len()):]
}

// starter stands for systemd: it holds the socket, and starts sssd_kcm as
// Debian's sssd-kcm.service does when a client has connected and none runs.
// After five starts in ten seconds it gives up and closes the socket.
type starter struct {
	s       *server
	socket  *net.UnixListener
	stopped chan struct{}
	over    sync.WaitGroup

	mu      sync.Mutex
	running *exec.Cmd
}

const debianStart = `
mount --bind "$0/var/lib/sss" /var/lib/sss
mount --bind "$0/etc/sssd" /etc/sssd
mount --bind "$0/var/log/sssd" /var/log/sssd
mount --bind "$0/run" /run
/usr/sbin/sssd --genconf-section=kcm || true
export LISTEN_FDS=1 LISTEN_PID=$$
exec "$1" --uid 0 --gid 0 --logger=files`

func (st *starter) listen() (err error) {
	_ = os.Remove(st.s.socket())
	if st.socket, err = net.ListenUnix("unix", &net.UnixAddr{Name: st.s.socket(), Net: "unix"}); err != nil {
		return err
	}
	st.socket.SetUnlinkOnClose(false)
	st.stopped = make(chan struct{})
	st.over.Go(st.loop)
	return os.Chmod(st.s.socket(), 0o666)
}

func (st *starter) loop() {
	defer st.socket.Close()
	file, err := st.socket.File()
	if err != nil {
		return
	}
	defer file.Close()
	var starts []time.Time
	for {
		// Ready to read, for a listener, is a client that waits.
		for !readable(int(file.Fd())) {
			select {
			case <-st.stopped:
				return
			default:
			}
		}
		if starts = append(starts, time.Now()); len(starts) > 5 && time.Since(starts[len(starts)-6]) < 10*time.Second {
			return
		}
		if !st.runOnce(file) {
			return
		}
	}
}

// runOnce runs the program until it ends, and says whether to go on.
func (st *starter) runOnce(socket *os.File) (more bool) {
	program := "/usr/libexec/sssd/sssd_kcm"
	st.mu.Lock()
	cmd := exec.Command(st.s.overlay, st.s.tree, "sh", "-euc", debianStart, st.s.dir, program)
	cmd.ExtraFiles = []*os.File{socket}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if out, err := os.OpenFile(st.s.dir+"/var/log/sssd/output", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err == nil {
		defer out.Close()
		cmd.Stdout, cmd.Stderr = out, out
	}
	var err error
	select {
	case <-st.stopped:
		err = net.ErrClosed
	default:
		if err = startSession(cmd); err == nil {
			st.running = cmd
		}
	}
	st.mu.Unlock()
	if err != nil {
		return false
	}
	_ = cmd.Wait()
	st.mu.Lock()
	defer st.mu.Unlock()
	st.running = nil
	return true
}

func (st *starter) pid() int {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.running == nil {
		return 0
	}
	return st.running.Process.Pid
}

func (st *starter) stop() {
	st.mu.Lock()
	select {
	case <-st.stopped:
	default:
		close(st.stopped)
	}
	if st.running != nil {
		_ = st.running.Process.Kill()
	}
	st.mu.Unlock()
	st.over.Wait()
}
