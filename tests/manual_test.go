package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gosssd/layout"
)

const manual = "../packaging/man/"

// examples are the literal blocks of a manual page.
var examples = regexp.MustCompile(`(?s)\n\.Bd -literal[^\n]*\n(.*?)\n\.Ed\n`)

func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(manual + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestManualPagesHaveNoErrors(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob(manual + "*.[58]")
	if err != nil || len(pages) < 5 {
		t.Fatalf("there are %d pages: %v", len(pages), err)
	}
	pages = append(pages, besidePages(t, pages)...)
	for name, lint := range map[string][]string{
		"mandoc": {"mandoc", "-T", "lint", "-W", "warning"},
		"man":    {"man", "--warnings", "-E", "UTF-8", "-l"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needProgram(t, name)
			wrong := filepath.Join(t.TempDir(), "wrong.8")
			if err := os.WriteFile(wrong, []byte(".Dd x\n.Dt WRONG 8\n.Os\n.Sh NAME\n.Xyz\n.Ed\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if complaints(lint, wrong) == "" {
				t.Error("a page full of errors passes; the check shows nothing")
			}
			for _, file := range pages {
				if said := complaints(lint, file); said != "" {
					t.Errorf("%s:\n%s", file, said)
				}
			}
		})
	}
}

// besidePages are the pages of the form beside, made of these as make install
// makes them.
func besidePages(t *testing.T, pages []string) (made []string) {
	t.Helper()
	dir := t.TempDir()
	for _, page := range pages {
		text, err := exec.Command("sed", "-f", manual+"beside.sed", page).Output()
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, filepath.Base(page))
		if !strings.HasPrefix(filepath.Base(page), "sssd-") {
			name = filepath.Join(dir, "go"+filepath.Base(page))
		}
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		made = append(made, name)
	}
	return made
}

// TestTheManualOfTheFormBesideHasItsNames looks in its pages, as they are read,
// for names that are of the form whole.
func TestTheManualOfTheFormBesideHasItsNames(t *testing.T) {
	t.Parallel()
	needProgram(t, "mandoc")
	pages, err := filepath.Glob(manual + "*.[58]")
	if err != nil {
		t.Fatal(err)
	}
	whole, beside := layout.Current(), besideForm()
	of := func(files []string) string {
		out, err := exec.Command("mandoc", append([]string{"-T", "ascii", "-O", "width=400", "-I", "os=x"}, files...)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return regexp.MustCompile(`.\x08`).ReplaceAllString(string(out), "")
	}
	texts := map[string]string{"whole": of(pages), "beside": of(besidePages(t, pages))}
	for _, name := range []string{whole.Database, whole.Bus, whole.PIDFile, "/" + whole.Monitor + ".log", "# " + whole.Tool, whole.Tool + " restart"} {
		if !strings.Contains(texts["whole"], name) {
			t.Errorf("no page of the form whole has %s; the test shows nothing", name)
		}
		if name != "# "+whole.Tool && strings.Contains(strings.ReplaceAll(texts["beside"], beside.Tool, ""), name) {
			t.Errorf("a page of the form beside has %s", name)
		}
	}
	for _, name := range []string{beside.Database, beside.Bus, beside.PIDFile, "/" + beside.Monitor + ".log", "# " + beside.Tool, beside.Programs + "/" + beside.Monitor + " --genconf"} {
		if !strings.Contains(texts["beside"], name) {
			t.Errorf("no page of the form beside has %s", name)
		}
	}
	// What is SSSD's there: the file, its section, the restart, and what says so.
	rest := regexp.MustCompile(`systemctl restart sssd\b|SSSD's own\s+sssd|\[sssd\]|sssd\.conf|sssd[-_]\w+|[/.]sssd\b|sssd[./]\w+|gosssd|restart sssd, which|of sssd stops|the sssd of SSSD`).ReplaceAllString(texts["beside"], "")
	for line := range strings.Lines(rest) {
		if regexp.MustCompile(`\bsssd\b`).MatchString(line) {
			t.Errorf("sssd is named in: %s", strings.TrimSpace(line))
		}
	}
}

// complaints is what a program says about a page, besides showing it.
func complaints(lint []string, file string) string {
	cmd := exec.Command(lint[0], append(lint[1:], file)...)
	cmd.Env = append(os.Environ(), "MANPAGER=cat", "LC_ALL=C.UTF-8", "MANWIDTH=80")
	out := &strings.Builder{}
	cmd.Stderr = out
	if lint[0] == "mandoc" {
		cmd.Stdout = out
	}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(out, err)
	}
	return out.String()
}

// TestTheExamplesOfTheManualWork runs every command of the pages in a sandbox,
// as it is written, and checks every piece of sssd.conf.
func TestTheExamplesOfTheManualWork(t *testing.T) {
	t.Parallel()
	needProgram(t, "curl", "busctl", "dbus-monitor")
	needRealm(t)
	s := newSystem(t, defaults).start()
	s.wake("")
	me := user(os.Getuid())
	if err := os.MkdirAll(s.path("/run/pods/web"), 0o755); err != nil { // which tmpfiles.d(5) makes
		t.Fatal(err)
	}
	commands, pieces := 0, 0
	for _, name := range []string{"sssd.8", "sssd.conf.5", "sssd-kcm.8", "sssd-secrets.5", "sssctl.8"} {
		for _, found := range examples.FindAllStringSubmatch(page(t, name), -1) {
			example := strings.ReplaceAll(found[1], `\e`, `\`)
			switch {
			case strings.HasPrefix(example, "# cat /etc/tmpfiles.d/"):
				command, lines, _ := strings.Cut(example, "\n")
				s.write(strings.TrimPrefix(command, "# cat "), lines+"\n", 0o644)
				if me == 0 { // who alone can give directories to root
					commands++
					s.sh(me, `systemd-tmpfiles --root="$ROOT" --create; test -d "$ROOT"/run/pods/web`)
				}
			case strings.HasPrefix(example, "$ "), strings.HasPrefix(example, "# ") && !strings.Contains(example, "\n["):
				for command := range strings.SplitSeq("\n"+example, "\n"+example[:2]) {
					if command != "" {
						commands++
						s.wake("") // a responder runs only for its clients
						s.sh(me, s.sandboxed(command))
					}
				}
			case strings.Contains(example, "[libdefaults]"):
			case strings.HasPrefix(example, "request refused: "): // a line of the log
			case strings.HasPrefix(example, "gdbus call --system"): // followed in systembus_test.go
			case strings.HasPrefix(example, "journalctl GOSSSD_"): // followed in journal_test.go
			case strings.Contains(example, "ticket-hook"), strings.Contains(example, "$GOSSSD_"): // followed in hooks_test.go
			default:
				pieces++
				s.configure(example)
				s.sh(me, `"$BIN"/sssctl --root "$ROOT" config-check`)
				s.configure(defaults)
			}
		}
	}
	t.Logf("%d commands and %d pieces of sssd.conf", commands, pieces)
	if commands < 20 || pieces < 4 {
		t.Error("examples are not found in the pages")
	}
}

// sandboxed lets a command that is written for the whole machine run below the
// root of s. systemctl is only shown, a monitor ends once it monitors.
func (s *system) sandboxed(command string) string {
	command = strings.NewReplacer("/var/run/", s.root+"/var/run/", "/var/lib/sss/", s.root+"/var/lib/sss/").Replace(command)
	if strings.HasPrefix(command, "dbus-monitor ") {
		command = "timeout 0.2 " + command + " || [ $? = 124 ]"
	}
	return `cd "$ROOT"
		sssd() { "$BIN"/sssd --root "$ROOT" "$@"; }
		sssctl() { "$BIN"/sssctl --root "$ROOT" "$@"; }
		systemctl() { case "$*" in restart\ sssd | enable*\ sssd-*.socket | enable\ sssd-*.service) ;; *) echo "systemctl $*?"; return 1 ;; esac; }
		kinit() { echo secret | command kinit "$@"; }
		curl() { command curl -sSf "$@"; }
		` + command
}

// TestTheManualNamesEveryOptionOfTheCommandLine compares --help with the
// pages, and the exit codes with the program.
func TestTheManualNamesEveryOptionOfTheCommandLine(t *testing.T) {
	t.Parallel()
	help := func(args ...string) string {
		out, err := exec.Command(programs+"/"+args[0], args[1:]...).CombinedOutput()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	flag := regexp.MustCompile(`(?m)^ +(?:-., )?--([a-z-]+)`)
	text := page(t, "sssd.8")
	for _, found := range flag.FindAllStringSubmatch(help("sssd", "--help"), -1) {
		if !strings.Contains(text, "-"+found[1]) {
			t.Errorf("sssd(8) does not name --%s", found[1])
		}
	}
	command := regexp.MustCompile(`(?m)^  ([a-z-]+) `)
	text = page(t, "sssctl.8")
	_, list, _ := strings.Cut(help("sssctl", "--help"), "\nCommands:")
	found := command.FindAllStringSubmatch(list, -1)
	for _, name := range found {
		if !strings.Contains(text, "\n.It Cm "+name[1]) {
			t.Errorf("sssctl(8) does not name the command %s", name[1])
		}
	}
	if len(found) < 5 {
		t.Errorf("sssctl --help names the commands %v only", found)
	}

	code := regexp.MustCompile(`(?m)^\t(exit\w+) += (\d+)$`)
	source, err := os.ReadFile("../cmd/sssd/main.go")
	if err != nil {
		t.Fatal(err)
	}
	var inProgram, inPage []string
	for _, found := range code.FindAllStringSubmatch(string(source), -1) {
		inProgram = append(inProgram, found[2])
	}
	_, status, _ := strings.Cut(page(t, "sssd.8"), ".Sh EXIT STATUS")
	status, _, _ = strings.Cut(status, ".Sh ")
	for _, found := range regexp.MustCompile(`(?m)^\.It (\d+)$`).FindAllStringSubmatch(status, -1) {
		inPage = append(inPage, found[1])
	}
	if len(inPage) == 0 || !slices.Equal(inProgram, inPage) {
		t.Errorf("sssd(8) has the exit codes %v, the program %v", inPage, inProgram)
	}
}
