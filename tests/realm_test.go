package tests

import (
	"bytes"
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
)

// realm is the KDC that all tests share. Its port and the files of its directory
// are there when sharedRealm has returned, and stay as they are.
type realm struct {
	*kdc
	dir string
	// made is what dir held before the first client came: the KDC writes to its
	// database, so that a copy of dir itself might be half of the old and the new.
	made string
}

// sharedRealm starts the KDC when it is called first. It ends with the tests.
var sharedRealm = sync.OnceValues(startRealm)

// lacksRealm names a program that the KDC or its clients lack, if one does.
func lacksRealm() string {
	programs := []string{"kinit"}
	if !exists("../build/kdc") {
		programs = append(programs, "krb5kdc", "kadmin.local")
	}
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			return program
		}
	}
	return ""
}

// needRealm starts the KDC, or skips the test where there is none to start.
func needRealm(t *testing.T) *realm {
	t.Helper()
	if program := lacksRealm(); program != "" {
		skip(t, "needs "+program)
	}
	r, err := sharedRealm()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func startRealm() (*realm, error) {
	r := &realm{dir: filepath.Join(scratch, "realm"), made: filepath.Join(scratch, "realm.made")}
	var err error
	if r.kdc, err = startKDC(r.dir); err != nil {
		return nil, err
	}
	if out, err := exec.Command("cp", "-a", r.dir, r.made).CombinedOutput(); err != nil {
		r.stop()
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	atEnd(r.stop)
	return r, nil
}

// kdc is a process of MIT's KDC.
type kdc struct {
	process *exec.Cmd
	ended   chan struct{}
	port    int
	output  bytes.Buffer // to be read when it has ended
}

// startKDC starts a KDC that keeps its things in dir, and returns when it
// answers. Words of before come in front of its command.
func startKDC(dir string, before ...string) (k *kdc, err error) {
	for range 3 { // somebody else may take the port before the KDC does
		var l net.Listener
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, err
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		if k, err = startKDCAt(port, dir, before...); err == nil {
			return k, nil
		}
	}
	return nil, err
}

// startKDCAt is startKDC for a port, to which clients may have come before.
func startKDCAt(port int, dir string, before ...string) (*kdc, error) {
	k := &kdc{ended: make(chan struct{}), port: port}
	words := slices.Concat(before, []string{"./realm.sh", dir, fmt.Sprint(k.port)})
	k.process = exec.Command(words[0], words[1:]...)
	k.process.Stdout, k.process.Stderr = &k.output, &k.output
	k.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // to be killed with all that it starts
	if err := k.process.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = k.process.Wait()
		close(k.ended)
	}()
	for deadline := time.Now().Add(patience); ; {
		select {
		case <-k.ended:
			return nil, fmt.Errorf("the KDC has ended: %s", &k.output)
		case <-time.After(20 * time.Millisecond):
		}
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", k.port))
		if err == nil {
			c.Close()
			return k, nil
		}
		if time.Now().After(deadline) {
			k.stop()
			return nil, fmt.Errorf("the KDC does not come up: %s", &k.output)
		}
	}
}

func (k *kdc) stop() {
	_ = syscall.Kill(-k.process.Process.Pid, syscall.SIGKILL)
	<-k.ended
}

// krb5Conf writes a krb5.conf for the realm with more lines in its
// [libdefaults], and returns its name. Where there is no KDC it is empty.
func (s *system) krb5Conf(lines ...string) string {
	s.t.Helper()
	if lacksRealm() != "" {
		return "/dev/null"
	}
	r, err := sharedRealm()
	if err != nil {
		s.t.Fatal(err)
	}
	return s.krb5ConfOf(r.dir, lines...)
}

// krb5ConfOf is krb5Conf for the KDC that keeps its things in dir.
func (s *system) krb5ConfOf(dir string, lines ...string) string {
	s.t.Helper()
	base, err := os.ReadFile(filepath.Join(dir, "krb5.conf"))
	if err != nil {
		s.t.Fatal(err)
	}
	text := strings.Replace(string(base), "[libdefaults]\n", "[libdefaults]\n  "+strings.Join(lines, "\n  ")+"\n", 1)
	s.write("/krb5.conf", text, 0o644)
	return s.path("/krb5.conf")
}
