package tests

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"testing"
)

// TestTheGuideOfContainersWorks follows packaging/guides/containers.md with the
// real podman and bubblewrap, on the machine's own kernel: in a booted systemd
// of the tests user namespaces may not have a /proc.
func TestTheGuideOfContainersWorks(t *testing.T) {
	t.Parallel()
	needRoot(t)
	needRealm(t)
	needNamespaces(t, "--user", "--mount", "--pid", "--fork", "--mount-proc")
	needUnpacked(t, "containers", "podman", "")
	s := newSystem(t, "[sssd]\n").start()
	m := &machine{t: t}
	host := exec.Command("./overlay.sh", "../build/containers", "./containers.sh")
	host.Env = slices.Concat(s.env, []string{"CONF=" + s.path("/krb5.conf")})
	var complaints bytes.Buffer
	host.Stderr = &complaints
	life, err := host.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		life.Close()
		_, _ = io.Copy(io.Discard, out)
		if err := host.Wait(); err != nil {
			t.Errorf("%v\n%s", err, &complaints)
		}
	})
	if _, err := fmt.Fscanln(out, &m.pid); err != nil {
		t.Fatalf("%v\n%s", err, &complaints)
	}
	m.follow(readGuide(t, "../packaging/guides/containers.md"))
}
