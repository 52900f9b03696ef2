package tests

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gosssd/tests/dial"
	"gosssd/tests/vectors"
)

var update = flag.Bool("update", false, "write tests/vectors/differences.md anew")

// peer is another KCM server, as Debian packages it.
type peer struct {
	name    string // in the vectors
	title   string
	tree    string // below build, where tests/setup.sh has unpacked it
	pkg     string
	version string // that the vectors speak of
	script  string // becomes the server; CONF is the options of [kcm]
}

var peers = []peer{
	{
		name: "sssd-2.8.2", title: "SSSD 2.8.2", tree: "sssd", pkg: "sssd-kcm", version: "2.8.2",
		script: `
mkdir -p /var/lib/sss/db /var/lib/sss/secrets /var/lib/sss/pipes/private /etc/sssd/conf.d
printf '[sssd]\n[kcm]\n%s\n' "$CONF" >/etc/sssd/sssd.conf
chmod 600 /etc/sssd/sssd.conf
sssd --genconf-section=kcm
exec /usr/libexec/sssd/sssd_kcm --uid 0 --gid 0 --logger=stderr`,
	},
	{
		name: "heimdal", title: "Heimdal 7.8", tree: "heimdal", pkg: "heimdal-kcm", version: "7.8",
		script: `exec /usr/sbin/kcm`,
	},
}

// isolated gives a script its own /run, which DIR is from outside, and empty
// places of SSSD, of which /var/lib/sss is DIR/sss from outside.
const isolated = `
rm -rf /var/lib/sss /etc/sssd /var/log/sssd
mkdir -p /var/lib/sss /etc/sssd /var/log/sssd "$DIR/sss"
mount --bind "$DIR/sss" /var/lib/sss
mount --bind "$DIR" /run
`

func (p peer) need(t *testing.T) {
	t.Helper()
	needRoot(t)
	needNamespaces(t, "--mount")
	needUnpacked(t, p.tree, p.pkg, p.version)
}

// needUnpacked skips the test unless tests/setup.sh has unpacked a Debian
// package of a version into a tree below build, and returns the tree.
func needUnpacked(t *testing.T, tree, pkg, version string) string {
	t.Helper()
	dir := filepath.Join("../build", tree)
	there, err := os.ReadFile(dir + "/packages")
	if err != nil {
		skip(t, "needs "+pkg+"; tests/setup.sh unpacks it")
	}
	if !strings.Contains("\n"+string(there), "\n"+pkg+" "+version) {
		skip(t, fmt.Sprintf("needs version %s of %s; build/%s holds:\n%s", version, pkg, tree, there))
	}
	return dir
}

// start starts the server in a mount namespace of its own and returns its
// socket when that listens.
func (p peer) start(t *testing.T, options map[string]string) (socket string, stop func()) {
	t.Helper()
	dir := publicDir(t, "peer-")
	var conf strings.Builder
	for key, value := range options {
		fmt.Fprintf(&conf, "%s = %s\n", key, value)
	}
	cmd := exec.Command("./overlay.sh", "../build/"+p.tree, "sh", "-euc", isolated+p.script)
	cmd.Env = append(os.Environ(), "DIR="+dir, "CONF="+conf.String(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	stop = func() {
		_ = cmd.Process.Kill()
		<-ended
	}
	socket = filepath.Join(dir, ".heim_org.h5l.kcm-socket")
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		if c, err := net.Dial("unix", socket); err == nil {
			c.Close()
			return socket, stop
		}
		select {
		case <-ended:
		default:
			if time.Now().Before(deadline) {
				continue
			}
		}
		stop()
		t.Fatalf("%s does not come up: %s", p.title, output.String())
	}
}

func dialAs(uid uint32, socket string) (net.Conn, error) { return dial.As(uid, socket) }

func TestOtherServersAnswerAsTheVectorsSay(t *testing.T) {
	t.Parallel()
	cases, err := vectors.All()
	if err != nil {
		t.Fatal(err)
	}
	uids := map[string]uint32{"one": 20001, "two": 20002, "root": 0}
	for _, p := range peers {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			p.need(t)
			t.Log(table(cases, p))
			for _, c := range cases {
				t.Run(c.Name, func(t *testing.T) {
					socket, stop := p.start(t, c.Config)
					defer stop()
					err := c.Run(vectors.Server{
						Peer: p.name, UIDs: uids, Now: time.Now,
						Dial: func(user string) (net.Conn, error) { return dialAs(uids[user], socket) },
					})
					if err != nil {
						t.Error(err)
					}
				})
			}
		})
	}
}

// table is where a peer differs, and why.
func table(cases []vectors.Case, p peer) string {
	lacking := "| lacks | answers | why |\n|---|---|---|\n"
	differing := "| case | request | this server | " + p.title + " | why |\n|---|---|---|---|---|\n"
	for _, d := range vectors.Differences(cases, p.name) {
		if d.Theirs == "any" || d.Theirs == "stop" { // the words for what cannot be told exactly
			d.Theirs = "otherwise"
		}
		if d.Case == "" {
			lacking += fmt.Sprintf("| `%s` | %s | %s |\n", d.Request, d.Theirs, d.Why)
		} else {
			differing += fmt.Sprintf("| %s | `%s` | %s | %s | %s |\n", d.Case, d.Request, d.Ours, d.Theirs, d.Why)
		}
	}
	return "\n## " + p.title + "\n\n" + lacking + "\n" + differing
}

func TestTheTableOfDifferencesIsUpToDate(t *testing.T) {
	t.Parallel()
	cases, err := vectors.All()
	if err != nil {
		t.Fatal(err)
	}
	text := "# Where other servers answer otherwise\n\nWritten by `go test ./tests -run TableOfDifferences -update` from the vectors, which\n`make test` runs against these servers as Debian 12 packages them.\n"
	for _, p := range peers {
		text += table(cases, p)
	}
	const file = "vectors/differences.md"
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if there, err := os.ReadFile(file); err != nil || string(there) != text {
		t.Errorf("%s is not what the vectors say (%v); write it anew with -update", file, err)
	}
}
