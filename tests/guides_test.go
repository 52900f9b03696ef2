package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// reader is the user of the guides.
const reader user = 1000

// guides says on what machine each guide in packaging/guides is followed.
var guides = map[string]func(t *testing.T) *machine{
	"from-sssd-kcm.md":        machineOfSSSDsKCM,
	"from-file-or-keyring.md": machineOfFiles,
	"what-to-do-when.md":      machineOfGosssd,
}

// followedElsewhere are guides with a test of their own.
var followedElsewhere = []string{"containers.md"}

// TestTheGuidesWork does what the guides say, in order, and compares what they
// print with what is seen.
func TestTheGuidesWork(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../packaging/guides/*.md")
	if err != nil || len(files) < len(guides) {
		t.Fatalf("the guides are %q, %v", files, err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		prepare, found := guides[name]
		if !found && !strings.Contains(strings.Join(followedElsewhere, "\n"), name) {
			t.Errorf("nobody follows %s", name)
		}
		if found {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				prepare(t).follow(readGuide(t, file))
			})
		}
	}
}

// guideStep is a file to write, or a command of a user with what it prints.
type guideStep struct {
	at            string // file and line
	user          user
	command       string
	prints        []string
	path, content string
}

// readGuide reads the fenced blocks of a guide: "console" has commands behind
// "# " of root and "$ " of the reader, and lines that they print; "ini" a file,
// whose first line is its name. There may be no others, for nobody would try
// them.
func readGuide(t *testing.T, file string) []guideStep {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var steps []guideStep
	inside := ""
	for i, line := range strings.Split(string(text), "\n") {
		at := fmt.Sprintf("%s:%d", filepath.Base(file), i+1)
		fence, isFence := strings.CutPrefix(line, "```")
		var last *guideStep
		if len(steps) > 0 {
			last = &steps[len(steps)-1]
		}
		switch {
		case isFence && inside == "" && fence != "console" && fence != "ini":
			t.Fatalf("%s: a block of %q is tried by nobody", at, fence)
		case isFence:
			inside = fence
		case inside == "ini" && strings.HasPrefix(line, "# /"):
			steps = append(steps, guideStep{at: at, path: line[2:]})
		case inside == "ini":
			last.content += line + "\n"
		case inside == "console" && strings.HasPrefix(line, "# "):
			steps = append(steps, guideStep{at: at, command: line[2:]})
		case inside == "console" && strings.HasPrefix(line, "$ "):
			steps = append(steps, guideStep{at: at, command: line[2:], user: reader})
		case inside == "console" && last != nil:
			last.prints = append(last.prints, line)
		}
	}
	if len(steps) < 5 {
		t.Fatalf("%s has only %d steps", file, len(steps))
	}
	return steps
}

// follow does the steps. A command must succeed, unless the guide shows it
// printing an error, which begins with its name, or says that it fails. What asks
// for a password gets one.
func (m *machine) follow(steps []guideStep) {
	m.t.Helper()
	for _, s := range steps {
		if s.path != "" {
			m.write(s.path, s.content)
			continue
		}
		out, err := m.try(s.user, "exec 2>&1; "+`yes secret 2>/dev/null | { `+s.command+"\n}")
		program, _, _ := strings.Cut(s.command, " ")
		fails := false
		for _, line := range s.prints {
			if line == "(exit status 1)" {
				fails = true
				continue
			}
			fails = fails || strings.HasPrefix(line, program+": ")
			if !strings.Contains(out, strings.TrimSpace(line)) {
				m.t.Errorf("%s: %s\nprints\n%s\nand not\n%s", s.at, s.command, out, line)
			}
		}
		if fails != (err != nil) {
			m.t.Fatalf("%s: %s\n%s%v", s.at, s.command, out, err)
		}
		if s.command == "systemctl restart sssd" {
			m.awaitGeneration()
		}
	}
}

// awaitGeneration waits until sssd_kcm runs under the configuration of sssd, which for
// one who types is at once.
func (m *machine) awaitGeneration() {
	m.t.Helper()
	m.eventually(`klist -s || :; tool=$(command -v gosssctl || echo sssctl)
		$tool status 2>/dev/null | awk 'NR == 2 { now = $6 } $1 == "kcm" && $2 == "running" && $6 == now { print "settled" }'`, "settled")
}

// machineOfGosssd runs sssd.
func machineOfGosssd(t *testing.T) *machine {
	m := bootMachine(t, "[sssd]\n")
	m.sh(0, `systemctl start sssd sssd-kcm.socket`)
	return m
}

// machineOfFiles has the default of RHEL, and tickets in the keyring and a file.
func machineOfFiles(t *testing.T) *machine {
	m := bootMachine(t, "[sssd]\n")
	m.sh(0, `rm -f /etc/krb5.conf.d/*; sed -i -e '/use-kcm/d; /^includedir/d' -e '/^\[libdefaults\]/a\  default_ccache_name = KEYRING:persistent:%{uid}' /etc/krb5.conf`)
	m.eventually(`echo secret | kinit -c MEMORY: alice && echo served`, "served") // the KDC has just been started
	if out, err := m.try(reader, `echo secret | kinit alice; klist`); err != nil || !strings.Contains(out, "KEYRING:persistent:1000") {
		skip(t, "this machine's kernel has no keyring for tickets: "+out)
	}
	m.sh(reader, `echo secret | kinit -c FILE:/tmp/krb5cc_1000 alice`)
	return m
}

// machineOfSSSDsKCM has SSSD's own sssd and sssd_kcm, which has tickets in its
// database. The program of gosssd-kcm lies in its place already, as after the
// installation of the package; the process is the old one.
func machineOfSSSDsKCM(t *testing.T) *machine {
	m := newLogins(t)
	old := needUnpacked(t, "sssd", "sssd-kcm", "2.8.2") + "/usr/libexec/sssd/sssd_kcm"
	program, err := os.ReadFile(old)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeProgram("/proc/"+m.pid+"/root/srv/sssd_kcm", program, 0o755); err != nil {
		t.Fatal(err)
	}
	m.sh(0, `systemctl disable gosssd.service sssd-kcm.socket; systemctl stop gosssd.service sssd-kcm.socket sssd-kcm.service; rm -rf /var/lib/sss/secrets/*`)
	m.write("/run/systemd/system/sssd-kcm.service.d/old.conf", "[Service]\nType=simple\nExecStart=\nExecStart=/srv/sssd_kcm --uid 0 --gid 0 --logger=files\nCapabilityBoundingSet=~\nSystemCallFilter=\n")
	m.sh(0, `systemctl daemon-reload; systemctl start sssd-kcm.socket`)
	m.sh(reader, `echo secret | kinit alice; klist`)
	m.sh(0, `test -s /var/lib/sss/secrets/secrets.ldb; rm -r /run/systemd/system/sssd-kcm.service.d`)
	return m
}
