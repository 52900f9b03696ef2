package tests

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// machine is a real systemd, booted in namespaces of its own over a tree made
// by make install, with a KDC beside it.
type machine struct {
	t       *testing.T
	pid     string // of its systemd
	boots   func() // waits for the next boot
	planted bool   // a test has written a secret into a log
}

// installed has the trees that machines are booted with, by form.
var installed = map[string]*installedTree{"whole": {}, "beside": {}}

type installedTree struct {
	once sync.Once
	tree string
	err  error
}

// bootMachine boots a machine whose sssd.conf is conf, and nothing of sssd
// runs yet.
func bootMachine(t *testing.T, conf string) *machine {
	t.Helper()
	return bootForm(t, "whole", conf)
}

// bootForm boots a machine with a form of the product and with packages that
// tests/setup.sh has unpacked.
func bootForm(t *testing.T, form, conf string, unpacked ...string) *machine {
	t.Helper()
	needRoot(t)
	r := needRealm(t)
	needProgram(t, "make", "unshare", "nsenter", "setpriv", "pivot_root", "systemctl")
	installed := installed[form]
	installed.once.Do(func() { installed.tree, installed.err = install(form, r) })
	if installed.err != nil {
		t.Fatal(installed.err)
	}
	m := &machine{t: t}
	m.boot(installed.tree, unpacked)
	m.write("/etc/sssd/sssd.conf", conf)
	if loud {
		m.write("/etc/sssd/conf.d/zz-loud.conf", loudSnippet)
	}
	t.Cleanup(func() {
		if !m.planted {
			for _, leak := range m.leaks() {
				t.Error(leak)
			}
		}
		if t.Failed() {
			out, _ := m.try(0, `journalctl --no-pager -n 60; tail -n 20 /var/log/sssd/*`)
			t.Log(out)
		}
	})
	return m
}

// install makes the tree: what make install installs, a krb5.conf, and units
// for the KDC and for the target to boot to.
func install(form string, r *realm) (tree string, err error) {
	tree = filepath.Join(scratch, "installed."+form)
	clients, err := os.ReadFile(filepath.Join(r.made, "krb5.conf"))
	if err != nil {
		return "", err
	}
	kdc := fmt.Sprintf("[Service]\nExecStart=/srv/realm.sh /srv/realm %d\n", r.port)
	target := "[Unit]\nRequires=basic.target\nAfter=basic.target\nWants=gosssd-kdc.service\n"
	for name, text := range map[string]string{
		"etc/krb5.conf":                         string(clients), // without includedir, as Debian's
		"etc/systemd/system/gosssd-kdc.service": kdc,
		"etc/systemd/system/gosssd-test.target": target,
	} {
		path := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	if out, err := makeInstall(tree, "use-kcm", "FORM="+form, "BIN="+filepath.Join(scratch, "install."+form)); err != nil {
		return "", fmt.Errorf("make install use-kcm: %w\n%s", err, out)
	}
	copied := exec.Command("sh", "-euc", `cd "$1"
		mkdir -p srv
		cp "$OLDPWD/realm.sh" srv/; cp -a "$2" srv/realm`,
		"sh", tree, r.made)
	if out, err := copied.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return tree, nil
}

// installing is held by who writes to the directory that make install builds in.
var installing sync.Mutex

// makeInstall runs make install with more arguments.
func makeInstall(destdir string, args ...string) (output []byte, err error) {
	installing.Lock()
	defer installing.Unlock()
	args = append([]string{"-C", "..", "install", "DESTDIR=" + destdir, "BIN=" + filepath.Join(scratch, "install")}, args...)
	cmd := exec.Command("make", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	return cmd.CombinedOutput()
}

// boot returns when systemd has started all it was asked to.
func (m *machine) boot(tree string, unpacked []string) {
	m.t.Helper()
	args := []string{tree}
	for _, name := range append(unpacked, "kdc", "logrotate") {
		if tree := filepath.Join("../build", name); exists(tree) {
			args = append(args, tree)
		}
	}
	m.start(exec.Command("systemd/boot.sh", args...))
	m.eventually(`systemctl is-system-running`, "running")
}

// start runs boot.sh and returns when systemd is there.
func (m *machine) start(cmd *exec.Cmd) {
	m.t.Helper()
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	life, err := cmd.StdinPipe() // which the kernel ends with this process at the latest
	if err != nil {
		m.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		life.Close()
		_, _ = io.Copy(io.Discard, out)
		if err := cmd.Wait(); err != nil {
			m.t.Errorf("the machine does not end well: %v\n%s", err, &complaints)
		}
	})
	m.boots = func() {
		m.t.Helper()
		if _, err := fmt.Fscanln(out, &m.pid); err != nil {
			m.t.Fatalf("the machine does not boot: %v\n%s", err, &complaints)
		}
	}
	m.boots()
}

// sh runs a script as a user on the machine and returns its output; it must
// succeed.
func (m *machine) sh(u user, script string) string {
	m.t.Helper()
	out, err := m.try(u, script)
	if err != nil {
		m.t.Fatalf("uid %d: %s\n%s%v", u, script, out, err)
	}
	return out
}

func (m *machine) try(u user, script string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	id := fmt.Sprint(uint32(u))
	cmd := exec.CommandContext(ctx, "nsenter", "--target", m.pid, "--all",
		"setpriv", "--reuid", id, "--regid", id, "--clear-groups", "sh", "-euc", script)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC", "HOME=/nonexistent"}
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// write writes a file of root's alone.
func (m *machine) write(path, text string) {
	m.t.Helper()
	m.sh(0, fmt.Sprintf("umask 077; mkdir -p %q; cat > %q <<'END OF FILE'\n%s\nEND OF FILE\n", filepath.Dir(path), path, text))
}

// eventually runs a script until its output contains want.
func (m *machine) eventually(script, want string) string {
	m.t.Helper()
	pause := 20 * time.Millisecond
	for deadline := time.Now().Add(patience); ; time.Sleep(pause) {
		pause = min(pause*5/4, time.Second/4) // each look is four programs that others wait for
		out, _ := m.try(0, script)
		if strings.Contains(out, want) {
			return out
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("%s: does not say %q but\n%s", script, want, out)
		}
	}
}

// property is what systemctl show says of a unit.
func (m *machine) property(unit, name string) string {
	m.t.Helper()
	return strings.TrimSpace(m.sh(0, fmt.Sprintf("systemctl show --value -p %s %s", name, unit)))
}
