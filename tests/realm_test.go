package tests

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
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
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
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
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		realm.err = err
		return
	}
	realm.port = l.Addr().(*net.TCPAddr).Port
	l.Close()
	var output bytes.Buffer
	realm.kdc = exec.Command("./realm.sh", filepath.Join(scratch, "realm"), fmt.Sprint(realm.port))
	realm.kdc.Stdout, realm.kdc.Stderr = &output, &output
	if realm.err = realm.kdc.Start(); realm.err != nil {
		return
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", realm.port))
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			realm.err = fmt.Errorf("the KDC does not come up: %s", output.String())
			return
		}
	}
}

func stopRealm() {
	if realm.kdc != nil && realm.kdc.Process != nil {
		_ = realm.kdc.Process.Kill()
		_ = realm.kdc.Wait()
	}
}

// krb5Conf writes a krb5.conf for the realm with more lines in its
// [libdefaults], and returns its name.
func (s *system) krb5Conf(lines ...string) string {
	s.t.Helper()
	if realm.kdc == nil {
		return "/dev/null"
	}
	base, err := os.ReadFile(filepath.Join(scratch, "realm", "krb5.conf"))
	if err != nil {
		s.t.Fatal(err)
	}
	text := strings.Replace(string(base), "[libdefaults]\n", "[libdefaults]\n  "+strings.Join(lines, "\n  ")+"\n", 1)
	s.write("/krb5.conf", text, 0o644)
	return s.path("/krb5.conf")
}
