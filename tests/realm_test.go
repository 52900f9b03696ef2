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

// realm is the KDC that all tests share.
var realm struct {
	once sync.Once
	kdc  *exec.Cmd
	port int
	err  error
}

// needRealm starts the KDC, or skips the test where there is none to start.
func needRealm(t *testing.T) {
	t.Helper()
	needProgram(t, "kinit")
	if _, err := os.Stat("../build/kdc"); err != nil {
		needProgram(t, "krb5kdc", "kadmin.local")
	}
	realm.once.Do(startRealm)
	if realm.err != nil {
		t.Fatal(realm.err)
	}
}

func startRealm() {
	realm.kdc, realm.port, realm.err = startKDC(filepath.Join(scratch, "realm"))
}

// startKDC starts a KDC that keeps its things in dir, and returns when it
// answers. Words of before come in front of its command.
func startKDC(dir string, before ...string) (*exec.Cmd, int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, 0, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	var output bytes.Buffer
	words := slices.Concat(before, []string{"./realm.sh", dir, fmt.Sprint(port)})
	kdc := exec.Command(words[0], words[1:]...)
	kdc.Stdout, kdc.Stderr = &output, &output
	kdc.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // to be killed with all that it starts
	if err := kdc.Start(); err != nil {
		return nil, 0, err
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			c.Close()
			return kdc, port, nil
		}
		if time.Now().After(deadline) {
			stopKDC(kdc)
			return nil, 0, fmt.Errorf("the KDC does not come up: %s", output.String())
		}
	}
}

func stopRealm() {
	if realm.kdc != nil && realm.kdc.Process != nil {
		stopKDC(realm.kdc)
	}
}

func stopKDC(kdc *exec.Cmd) {
	_ = syscall.Kill(-kdc.Process.Pid, syscall.SIGKILL)
	_ = kdc.Wait()
}

// krb5Conf writes a krb5.conf for the realm with more lines in its
// [libdefaults], and returns its name.
func (s *system) krb5Conf(lines ...string) string {
	s.t.Helper()
	if realm.kdc == nil {
		return "/dev/null"
	}
	return s.krb5ConfOf(filepath.Join(scratch, "realm"), lines...)
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
