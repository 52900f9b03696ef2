package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gosssd/cmd/sssctl/explain"
	"gosssd/kcm/protocol"
)

// brokenSetup is something that fails, and what a person does whom explain tells
// to see to something.
type brokenSetup struct {
	name  string
	by    user // who calls explain; root is told of user 4001
	alone bool // root asks about the system only
	harm  func(s *system)
	see   func(s *system, text string)
	need  func(t *testing.T) // skips the test without what the set-up needs; nil: nothing
}

const sufferer user = 4001

// explained are the findings of explain.
func (s *system) explained(b brokenSetup) (all []explain.Finding, code int) {
	s.t.Helper()
	args := []string{"explain", "-j"}
	if b.by == 0 && !b.alone {
		args = append(args, "--user", fmt.Sprint(sufferer))
	}
	got := s.ctl(b.by, "", args...)
	var answer struct {
		Well   bool
		Checks []explain.Finding
	}
	if err := json.Unmarshal([]byte(got.stdout), &answer); err != nil || answer.Well != (got.code == 0) {
		s.t.Fatalf("%s: explain: %v: %+v", b.name, err, got)
	}
	return answer.Checks, got.code
}

// follow takes one step of a cure, to the letter.
func (s *system) follow(b brokenSetup, step explain.Step) {
	s.t.Helper()
	by := user(0)
	if step.User != "root" {
		_, _ = fmt.Sscan(step.User, &by)
	}
	lines := func() []string {
		text, err := os.ReadFile(step.File)
		if err != nil {
			s.t.Fatalf("%s: %v", b.name, err)
		}
		return strings.Split(string(text), "\n")
	}
	write := func(text string) {
		if err := os.WriteFile(step.File, []byte(text), 0o644); err != nil {
			s.t.Fatalf("%s: %v", b.name, err)
		}
	}
	switch {
	case step.Do == explain.See:
		if b.see == nil {
			s.t.Fatalf("%s: nobody expects to be told: %s", b.name, step.Text)
		}
		b.see(s, step.Text)
	case step.Do == explain.Write && step.Line == 0:
		if err := os.MkdirAll(filepath.Dir(step.File), 0o755); err != nil {
			s.t.Fatal(err)
		}
		write(step.Text + "\n")
	case step.Do == explain.Write:
		all := lines()
		all[step.Line-1] = step.Text
		write(strings.Join(all, "\n"))
	case step.Do == explain.After:
		write(strings.Join(slices.Insert(lines(), step.Line, step.Text), "\n"))
	case step.Text == "unset KRB5CCNAME":
		s.env = slices.DeleteFunc(s.env, func(v string) bool { return strings.HasPrefix(v, "KRB5CCNAME=") })
	case step.Text == "systemctl start sssd", step.Text == "systemctl restart sssd":
		s.restart()
	default:
		s.sh(by, `sssctl() { "$TOOL" --root "$ROOT" "$@"; }
			kinit() { echo secret | command kinit "$@" >/dev/null; }
			`+step.Text)
	}
}

// suffer breaks a system that is well, and mends it as explain says. It returns
// what that is.
func (s *system) suffer(b brokenSetup) string {
	s.t.Helper()
	b.harm(s)
	var said string
	var problems []explain.Finding
	soon(s.t, func() bool {
		all, code := s.explained(b)
		problems = slices.DeleteFunc(slices.Clone(all), func(f explain.Finding) bool { return f.State != explain.Problem })
		said = explain.Text(problems)
		return code == 1
	}, func() string { return b.name + ": explain finds nothing" })
	for round := 1; len(problems) > 0; round++ {
		if round > 3 {
			s.t.Fatalf("%s: the cure does not mend it: %s\nnow: %s", b.name, said, explain.Text(problems))
		}
		for _, f := range problems {
			for _, step := range f.Cure {
				s.follow(b, step)
			}
		}
		all, _ := s.explained(b)
		problems = slices.DeleteFunc(all, func(f explain.Finding) bool { return f.State != explain.Problem })
	}
	return s.normal(said)
}

// normal puts words in the place of what differs from run to run.
func (s *system) normal(text string) string {
	for _, r := range [][2]string{
		{regexp.QuoteMeta(s.root), "ROOT"}, {`(kill|KILL|process) \d+`, "$1 PID"}, {`\([^ )]*python[^ )]*\)`, "(python3)"},
		{`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`, "TIME"}, {`4001:[\w-]+`, "4001:NAME"}, {`(no KDC of EXAMPLE.TEST answers): .*`, "$1: WHY"}, {`\d+ MiB are`, "N MiB are"}, {`\(/[^ )]*/sssd_kcm\)`, "(sssd_kcm)"},
	} {
		text = regexp.MustCompile(r[0]).ReplaceAllString(text, r[1])
	}
	return text
}

// tgt stores a ticket-granting ticket of user 4001 in the default cache.
func (s *system) tgt(times protocol.Times, offset int32) {
	s.t.Helper()
	c, name, alice := s.kcm(), fmt.Sprint(sufferer), principal("alice")
	cred := protocol.Credential{Client: alice, Server: protocol.TGS("EXAMPLE.TEST", "EXAMPLE.TEST"),
		Key: protocol.Keyblock{Enctype: 18, Key: make([]byte, 32)}, Times: times, Ticket: []byte("no ticket")}
	if err := c.Initialize(name, alice); err != nil {
		s.t.Fatal(err)
	}
	if err := c.Store(name, cred); err != nil {
		s.t.Fatal(err)
	}
	skew := []byte{byte(offset >> 24), byte(offset >> 16), byte(offset >> 8), byte(offset)}
	if _, err := c.Call(protocol.OpSetKDCOffset, protocol.AppendName(nil, name), skew); err != nil {
		s.t.Fatal(err)
	}
}

// dueTicket gives user 4001 a ticket that is due for renewal. Its last byte is
// changed by flip; before is called when it is to be stored.
func (s *system) dueTicket(flip byte, before func()) {
	s.t.Helper()
	s.sh(sufferer, `echo secret | kinit -r 3d alice >/dev/null`)
	c, name := s.kcm(), fmt.Sprint(sufferer)
	all, err := c.Credentials(name)
	i := slices.IndexFunc(all, func(cred protocol.Credential) bool { return cred.Server.IsTGS() })
	if err != nil || i < 0 {
		s.t.Fatalf("%d credentials, %v", len(all), err)
	}
	due := all[i]
	due.Ticket = slices.Clone(due.Ticket)
	due.Ticket[len(due.Ticket)-1] ^= flip
	due.Times.Auth, due.Times.Start, due.Times.End = in(-9*time.Hour), in(-9*time.Hour), in(time.Hour)
	before()
	if err := c.Initialize(name, due.Client); err != nil {
		s.t.Fatal(err)
	}
	if err := c.Store(name, due); err != nil {
		s.t.Fatal(err)
	}
}

func in(d time.Duration) uint32 { return uint32(time.Now().Add(d).Unix()) }

// edit replaces a text in the system's krb5.conf.
func (s *system) edit(old, text string) {
	s.t.Helper()
	const path = "/krb5.conf"
	b, err := os.ReadFile(s.path(path))
	if err != nil || !strings.Contains(string(b), old) {
		s.t.Fatalf("%s lacks %q: %v", path, old, err)
	}
	s.write(path, strings.Replace(string(b), old, text, 1), 0o600)
	if err := os.Chmod(s.path(path), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

const kcmSocketPath = "/var/run/.heim_org.h5l.kcm-socket"

// ofClients are set-ups in which the services are well.
func ofClients() []brokenSetup {
	return []brokenSetup{
		{name: "the socket has another mode", by: sufferer, harm: func(s *system) { s.sh(0, `chmod 0600 "$ROOT`+kcmSocketPath+`"`) }},
		{name: "the socket has another owner", harm: func(s *system) { s.sh(0, `chown 4002 "$ROOT`+kcmSocketPath+`"`) }},
		{name: "an included file keeps tickets in files", by: sufferer, harm: func(s *system) {
			s.write("/krb5.conf.d/old.conf", "# from a former release\n[libdefaults]\n  default_ccache_name = FILE:/tmp/krb5cc_%{uid}\n", 0o644)
			s.edit("[libdefaults]", "includedir "+s.path("/krb5.conf.d")+"\n[libdefaults]")
		}},
		{name: "krb5.conf names no default cache", by: sufferer, harm: func(s *system) {
			s.sh(0, `rm -r "$ROOT/krb5.conf.d"`)
			s.edit("includedir "+s.path("/krb5.conf.d")+"\n", "")
			s.edit("  default_ccache_name = KCM:\n", "")
		}},
		{name: "the colon behind KCM is missing", by: sufferer, harm: func(s *system) { s.edit("= KCM:", "= KCM") }},
		{name: "krb5.conf names another socket", by: sufferer, harm: func(s *system) {
			s.edit("kcm_socket = "+s.path(kcmSocketPath), "kcm_socket = /run/heimdal.socket")
		}},
		{name: "krb5.conf cannot be parsed", by: sufferer,
			harm: func(s *system) { s.edit("[libdefaults]", "[libdefaults") },
			see:  func(s *system, _ string) { s.edit("[libdefaults", "[libdefaults]") }},
		{name: "KRB5CCNAME names a file", by: sufferer, harm: func(s *system) { s.env = append(s.env, "KRB5CCNAME=FILE:/tmp/old") }},
		{name: "the ticket has expired", by: sufferer, harm: func(s *system) { s.tgt(protocol.Times{Auth: in(-9 * time.Hour), End: in(-time.Hour)}, 0) }},
		{name: "the ticket is postdated", by: sufferer, harm: func(s *system) {
			s.tgt(protocol.Times{Auth: in(-time.Minute), Start: in(9 * time.Hour), End: in(18 * time.Hour)}, 0)
		}},
		{name: "the ticket was issued in the future", harm: func(s *system) {
			s.tgt(protocol.Times{Auth: in(9 * time.Hour), Start: in(9 * time.Hour), End: in(18 * time.Hour)}, 0)
		}, see: func(*system, string) {}}, // the clock is right by now
		{name: "the clock was behind that of the KDC", harm: func(s *system) {
			s.tgt(protocol.Times{Auth: in(12 * time.Minute), End: in(9 * time.Hour)}, 12*60)
		}, see: func(*system, string) {}},
		{name: "the KDC renews no longer", harm: func(s *system) { s.dueTicket(1, func() {}) }},
		{name: "no KDC answers a renewal", harm: func(s *system) {
			s.dueTicket(0, func() { s.edit("kdc = 127.0.0.1:", "kdc = 127.0.0.1:1\n    was = 127.0.0.1:") })
		}, see: func(s *system, _ string) {
			s.edit("kdc = 127.0.0.1:1\n    was = ", "kdc = ")
		}},
		{name: "a limit is reached, and a cache has expired", harm: func(s *system) {
			s.tgt(protocol.Times{Auth: in(-9 * time.Hour), End: in(-time.Hour)}, 0)
			s.sh(sufferer, `echo secret | kinit -c KCM:4001:second bob >/dev/null; kswitch -c KCM:4001:second`)
		}},
		{name: "a limit is reached", harm: func(s *system) {
			s.sh(sufferer, `echo secret | kinit -c KCM:4001:third carol >/dev/null`)
		}},
	}
}

// ofServices are set-ups in which services are not well; the first begins with
// none.
func ofServices(t *testing.T) []brokenSetup {
	var python *exec.Cmd
	return []brokenSetup{
		{name: "sssd does not run", alone: true, harm: func(*system) {}},
		{name: "sssd does not run, as its user sees it", by: sufferer, harm: func(s *system) {
			s.stop()
			_ = os.Remove(s.path(kcmSocketPath))
		}, see: func(s *system, text string) {
			expect(t, text, "get tickets with kinit")
			s.sh(sufferer, `echo secret | kinit alice >/dev/null`)
		}},
		{name: "another program listens", alone: true, harm: func(s *system) {
			s.stop()
			_ = os.Remove(s.path(kcmSocketPath))
			python = exec.Command("python3", "-c", `import socket, sys, os, time
l = socket.socket(socket.AF_UNIX); l.bind(sys.argv[1]); l.listen(); os.chmod(sys.argv[1], 0o666)
while True: l.accept()`, s.path(kcmSocketPath))
			if err := python.Start(); err != nil {
				t.Fatal(err)
			}
			go python.Wait()
			soon(t, func() bool { _, err := dialAs(0, s.path(kcmSocketPath)); return err == nil }, func() string { return "python does not listen" })
		}},
		{name: "SSSD's own sssd_kcm listens", alone: true, need: peers[0].need, harm: func(s *system) {
			s.stop()
			_ = os.Remove(s.path(kcmSocketPath))
			socket, stop := peers[0].start(t, nil)
			t.Cleanup(stop)
			if err := os.Link(socket, s.path(kcmSocketPath)); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "the file is newer than what is in force", alone: true, harm: func(s *system) { s.configure("[kcm]\nmax_uid_ccaches = 7\n") }},
		{name: "kcm is listed in services", alone: true, harm: func(s *system) { s.configure("[sssd]\nservices = kcm\n") }},
		{name: "the file is wrong", alone: true, harm: func(s *system) { s.configure("[kcm]\nmax_uid_caches = 7\n") },
			see: func(s *system, text string) {
				expect(t, text, "/etc/sssd/sssd.conf:2: ", "max_uid_ccaches")
				s.configure("[kcm]\nmax_uid_ccaches = 7\n")
			}},
		{name: "a responder hangs", alone: true, harm: func(s *system) {
			s.configure("[kcm]\ntimeout = 1000\n[secrets]\ntimeout = 1000\n") // so that sssd does not mend it first
			s.restart()
			s.wake("")
			if err := syscall.Kill(s.pid("sssd_secrets"), syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "a responder cannot be started", alone: true, harm: func(s *system) {
			s.kill(syscall.SIGTERM)
			s.stop()
			_ = os.Remove(s.path("/run/sssd_secrets.pid"))
			if err := os.MkdirAll(s.path("/run/sssd_secrets.pid"), 0o755); err != nil {
				t.Fatal(err)
			}
			s.start()
		}, see: func(s *system, text string) {
			expect(t, text, s.path("/run/sssd_secrets.pid"), "is a directory")
			s.sh(0, `rmdir "$ROOT/run/sssd_secrets.pid"`)
		}},
	}
}

// TestExplainSaysWhatMendsEachBrokenSetUp breaks what works, asks explain, and
// follows its cures to the letter until it calls all well.
func TestExplainSaysWhatMendsEachBrokenSetUp(t *testing.T) {
	t.Parallel()
	needRoot(t)
	needRealm(t)
	var mu sync.Mutex
	told := map[string]string{}
	var order []string
	suffer := func(t *testing.T, s *system, all []brokenSetup) {
		for _, b := range all {
			t.Run(b.name, func(t *testing.T) {
				if b.need != nil {
					b.need(t)
				}
				said := s.suffer(b)
				mu.Lock()
				told[b.name] = said
				mu.Unlock()
			})
		}
	}
	clients, services := ofClients(), ofServices(t)
	disk := brokenSetup{name: "the disk is full", alone: true, see: func(s *system, text string) {
		expect(t, text, s.path("/var/lib/sss/secrets"))
		s.sh(0, fmt.Sprintf(`rm "/proc/%d/root$ROOT/var/lib/sss/secrets/filler"`, s.sssd.Process.Pid))
	}, harm: func(s *system) {
		if err := fillDisk(fmt.Sprintf("/proc/%d/root%s/filler", s.sssd.Process.Pid, s.path("/var/lib/sss/secrets"))); err != nil {
			t.Fatal(err)
		}
	}}
	damage := brokenSetup{name: "the caches of a user are damaged", see: func(s *system, text string) {
		expect(t, text, "get tickets with kinit")
		s.sh(sufferer, `echo secret | kinit alice >/dev/null`)
	}, harm: func(s *system) {
		s.kill(syscall.SIGTERM)
		spoil(t, s.vault(vaults["secrets"]), "kcm", uint32(sufferer))
		s.start()
	}}
	for _, b := range append(append(clients, services...), disk, damage) {
		order = append(order, b.name)
	}
	t.Run("set-ups", func(t *testing.T) {
		t.Run("clients", func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, "[kcm]\nmax_uid_ccaches = 2\ntgt_renewal = true\nkrb5_renew_interval = 1s\n")
			s.more = []string{"KRB5_CONFIG=" + s.path("/krb5.conf")}
			s.start()
			s.sh(sufferer, `echo secret | kinit alice >/dev/null`)
			suffer(t, s, clients)
		})
		t.Run("services", func(t *testing.T) {
			t.Parallel()
			suffer(t, newSystem(t, ""), services)
		})
		t.Run("damage", func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, storedIn("secrets")).start()
			s.sh(sufferer, `echo secret | kinit alice; kvno -q host/server.example.test; kvno -q host/other.example.test`)
			suffer(t, s, []brokenSetup{damage})
		})
		t.Run("disk", func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, "")
			s.onSmallDisk(s.path("/var/lib/sss/secrets"), "64m")
			if err := os.Symlink(programs+"/sssctl", s.path("/bin/sssctl")); err != nil {
				t.Fatal(err)
			}
			s.start().wake("")
			suffer(t, s, []brokenSetup{disk})
		})
	})
	if !t.Failed() {
		compareExplained(t, order, told)
	}
}

// TestExplainKnowsASocketOfAnotherPath, also for a user who may not read where it
// is configured to be.
func TestExplainKnowsASocketOfAnotherPath(t *testing.T) {
	t.Parallel()
	needRoot(t)
	needRealm(t)
	s := newSystem(t, "[kcm]\nsocket_path = /run/other.sock\n").start()
	s.edit(s.path(kcmSocketPath), s.path("/run/other.sock"))
	s.sh(sufferer, `echo secret | kinit alice`)
	for _, b := range []brokenSetup{{by: sufferer}, {by: 0}} {
		if all, code := s.explained(b); code != 0 {
			t.Errorf("uid %d: %s", b.by, explain.Text(all))
		}
	}
	if list := s.listed(sufferer); len(list) != 1 {
		t.Errorf("the user's list has %d caches", len(list))
	}
}

func TestExplainTellsUsersOnlyOfThemselves(t *testing.T) {
	t.Parallel()
	needRoot(t)
	s := newSystem(t, "").start()
	want := said{stderr: "only root may ask about others; without --user your own tickets are looked at\n", code: 1}
	if got := s.ctl(sufferer, "", "explain", "--user", "4002"); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// compareExplained compares what explain says of set-ups with a file; those that
// this machine lacks something for are left alone.
func compareExplained(t *testing.T, order []string, told map[string]string) {
	t.Helper()
	const golden = "testdata/explain.golden"
	text, err := os.ReadFile(golden)
	if err != nil && !*update {
		t.Fatal(err)
	}
	known := map[string]string{}
	for _, part := range strings.Split("\n"+string(text), "\n== ")[1:] {
		name, said, _ := strings.Cut(part, "\n")
		known[name] = strings.TrimRight(said, "\n") + "\n"
	}
	var next strings.Builder
	for _, name := range order {
		said, now := told[name]
		switch {
		case !now:
			said = known[name]
		case said != known[name] && !*update:
			t.Errorf("%s: explain says\n%sand %s (which -update writes anew)\n%s", name, said, golden, known[name])
		}
		fmt.Fprintf(&next, "== %s\n%s\n", name, said)
	}
	if *update {
		if err := os.WriteFile(golden, []byte(next.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
