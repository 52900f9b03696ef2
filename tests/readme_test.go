package tests

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"gosssd/layout"
)

// blocks returns the code blocks of a language in a Markdown file.
func blocks(t *testing.T, file, language string) []string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, part := range strings.Split(string(b), "```"+language+"\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		found = append(found, block)
	}
	return found
}

func TestTheResponderOfTheReadmeWorks(t *testing.T) {
	t.Parallel()
	code := blocks(t, "../responder/README.md", "go")
	if len(code) != 3 {
		t.Fatalf("responder/README.md has %d blocks of code, expected 3", len(code))
	}
	if lines := strings.Count(code[0], "\n"); lines > 45 {
		t.Errorf("the responder of the README takes %d lines", lines)
	}
	s := newSystem(t, "[hello]\ngreeting = Moin\n")
	list, err := os.ReadFile("../cmd/responders/list.go")
	if err != nil {
		t.Fatal(err)
	}
	extended := strings.Replace(string(list), "kcm.Descriptor(),\n", "kcm.Descriptor(),\n"+code[2], 1)
	extended = strings.Replace(extended, "import (\n", "import (\n\t\"gosssd/hello\"\n", 1)
	s.buildOver(map[string]string{
		"../hello/hello.go":           code[0],
		"../hello/sssd_hello/main.go": code[1],
		"../cmd/responders/list.go":   extended,
	}, "gosssd/cmd/sssd", "gosssd/cmd/sssctl", "gosssd/hello/sssd_hello")

	s.start()
	me := user(os.Getuid())
	hello := `python3 -c 'import socket, os; c = socket.socket(socket.AF_UNIX); c.connect(os.environ["ROOT"] + "/var/run/hello.socket"); print(c.makefile().read())'`
	expect(t, s.sh(me, hello), "Moin, uid ")
	heard := s.listen("org.freedesktop.sssd.hello")
	s.sh(me, hello)
	for deadline, done := time.After(patience), false; !done; {
		select {
		case signal := <-heard: // the bus may tell of the listener's own name first
			done = signal.Name == "org.freedesktop.sssd.hello.Greeted" && slices.Equal(signal.Body, []any{uint32(os.Getuid())})
		case <-deadline:
			t.Fatal("nothing is heard of a signal that the descriptor declares")
		}
	}
	expect(t, s.sh(me, hello+`; "$BIN"/sssctl --root "$ROOT" status`), "hello", "running")
	expect(t, s.sh(me, hello+`; busctl --address="$BUS" call sssd.hello /org/freedesktop/sssd/service org.freedesktop.sssd.service Counters`), "clients")

	s.configure("[hello]\ngreating = Moin\n")
	expect(t, s.shFails(me, `"$BIN"/sssctl --root "$ROOT" config-check`), "greating", "Did you mean 'greeting'?")
}

// listen hears the signals of an interface on the private bus.
func (s *system) listen(iface string) <-chan *dbus.Signal {
	s.t.Helper()
	conn, err := dbus.Connect("unix:path=" + s.path(layout.Current().Bus))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	signals := make(chan *dbus.Signal, 100)
	conn.Signal(signals)
	if err := conn.AddMatchSignal(dbus.WithMatchInterface(iface)); err != nil {
		s.t.Fatal(err)
	}
	return signals
}

// buildOver builds packages with files laid over the tree, and makes the
// system use the result.
func (s *system) buildOver(files map[string]string, packages ...string) {
	s.t.Helper()
	overlay := map[string]string{}
	for name, text := range files {
		name, err := filepath.Abs(name)
		if err != nil {
			s.t.Fatal(err)
		}
		overlay[name] = filepath.Join(s.t.TempDir(), filepath.Base(name))
		if err := os.WriteFile(overlay[name], []byte(text), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	b, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		s.t.Fatal(err)
	}
	s.write("/overlay.json", string(b), 0o600)
	s.bin = s.path("/bin")
	args := append([]string{"build", "-overlay", s.path("/overlay.json"), "-o", s.bin + "/"}, packages...)
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	s.env = append(s.env, "BIN="+s.bin)
}

// link is a link or picture of a Markdown file to another file of the tree.
var link = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)

func TestLinksBetweenDocumentsLeadSomewhere(t *testing.T) {
	t.Parallel()
	list, err := exec.Command("git", "-C", "..", "ls-files", "*.md").Output()
	if err != nil {
		skip(t, "needs the repository: "+err.Error())
	}
	links := 0
	for _, name := range strings.Fields(string(list)) {
		text, err := os.ReadFile("../" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range link.FindAllStringSubmatch(string(text), -1) {
			links++
			if _, err := os.Stat(filepath.Join("..", filepath.Dir(name), found[1])); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if links < 5 {
		t.Errorf("only %d links are found", links)
	}
}

// TestPicturesAreWellFormed parses every SVG and refuses fonts, styles and
// pictures from elsewhere.
func TestPicturesAreWellFormed(t *testing.T) {
	t.Parallel()
	pictures, err := filepath.Glob("../packaging/pictures/*.svg")
	if err != nil || len(pictures) < 2 {
		t.Fatalf("there are %d pictures: %v", len(pictures), err)
	}
	for _, name := range pictures {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var picture struct {
			XMLName xml.Name `xml:"http://www.w3.org/2000/svg svg"`
			Title   string   `xml:"title"`
		}
		if err := xml.Unmarshal(text, &picture); err != nil || picture.Title == "" {
			t.Errorf("%s: title %q, %v", name, picture.Title, err)
		}
		refuse(t, string(text), "href", "@import", "<script")
	}
}
