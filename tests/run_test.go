package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// script runs one of the scripts of this directory, from a copy of it beside
// which are the programs, as in a checkout.
func script(t *testing.T, environment []string, name string, args ...string) (cmd *exec.Cmd, said func() string) {
	t.Helper()
	checkout := filepath.Join(t.TempDir(), "checkout")
	if err := os.MkdirAll(checkout+"/tests", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(programs, checkout+"/bin"); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{name, "sssd.conf.sample"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := writeProgram(filepath.Join(checkout, "tests", file), text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat("../build/kdc"); err == nil {
		kdc, err := filepath.Abs("../build/kdc")
		if err != nil {
			t.Fatal(err)
		}
		environment = append(environment, "KDC="+kdc)
	}
	cmd = exec.Command(checkout+"/tests/"+name, args...)
	output, err := os.Create(checkout + "/output")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { output.Close() })
	cmd.Env = append(os.Environ(), environment...)
	cmd.Stdout, cmd.Stderr = output, output
	return cmd, func() string {
		text, err := os.ReadFile(output.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
}

func TestRunWorksInADirectoryOfAnyNameAndSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	parent, err := os.MkdirTemp("", "r")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(parent)
	dir := parent + `/it's a "$HOME"`
	first, said := script(t, []string{"DIR=" + dir, "PATH=" + os.Getenv("PATH")}, "run.sh")
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- first.Wait() }()
	socket := dir + "/var/run/.heim_org.h5l.kcm-socket"
	await(func() bool { return strings.Contains(said(), "Ctrl-C ends everything") })

	second, complaint := script(t, []string{"DIR=" + dir}, "run.sh")
	if err := second.Run(); err == nil {
		t.Error("a second system starts in the same directory")
	}
	expect(t, complaint(), "already running", "make run DIR=")
	refuse(t, complaint(), "gosssd serves")

	_ = first.Process.Signal(syscall.SIGTERM)
	if err := <-ended; err != nil {
		t.Errorf("run ends with %v", err)
	}
	expect(t, said(), "kcm_socket = "+socket, `tests/heimdal.sh '`+parent+`/it'\''s a "$HOME"' kinit`)

	long, complaint := script(t, []string{"DIR=" + parent + "/" + strings.Repeat("x", 100)}, "run.sh")
	if err := long.Run(); err == nil {
		t.Error("run goes on with a directory that is too long for a socket")
	}
	expect(t, complaint(), "is too long")
}

// TestRunGoesOnWithoutKerberosPrograms gives run a PATH without kinit, KDC and
// apt-get.
func TestRunGoesOnWithoutKerberosPrograms(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	for _, name := range []string{"sh", "id", "mkdir", "chmod", "cp", "cat", "wc", "sed", "sleep", "dirname"} {
		program, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(program, filepath.Join(path, name)); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := os.MkdirTemp("", "r")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	cmd, said := script(t, []string{"DIR=" + dir, "PATH=" + path}, "run.sh")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	await(func() bool { return strings.Contains(said(), "Ctrl-C ends everything") })
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("run ends with %v", err)
	}
	expect(t, said(), "has no kinit", "apt-get install --no-install-recommends krb5-user", "gosssd serves")
}

func TestTheRealmRefusesAPortThatIsTaken(t *testing.T) {
	t.Parallel()
	r := needRealm(t)
	again, said := script(t, nil, "realm.sh", t.TempDir(), fmt.Sprint(r.port))
	if err := again.Run(); err == nil {
		t.Error("a second KDC starts on the same port")
	}
	expect(t, said(), "is taken; choose another")
}

func TestSetupWithoutAptGetSaysWhatTheTestsNeed(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	for _, name := range []string{"sh", "dirname"} {
		program, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(program, filepath.Join(path, name)); err != nil {
			t.Fatal(err)
		}
	}
	cmd, said := script(t, []string{"PATH=" + path}, "setup.sh")
	if err := cmd.Run(); err != nil {
		t.Errorf("setup fails: %v", err)
	}
	expect(t, said(), "has no apt-get", "krb5-user", "skipped")
}
