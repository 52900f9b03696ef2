package tests

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"gosssd/cmd/responders"
	"gosssd/confdb"
	"gosssd/kcm/protocol"
	"gosssd/layout"
	"gosssd/responder"
	"gosssd/sbus"
)

// options are sections of sssd.conf with the texts of their options.
type options map[string]map[string]string

// nobody is a user for whom [secrets/users/UID] is tried.
const nobody = "4711"

// TestEveryOptionIsInForceWhenItsDeclarationSays sets each option of both
// responders to something else and asks the running ones over D-Bus what is in
// force: before, after a reload, and after a restart of sssd.
func TestEveryOptionIsInForceWhenItsDeclarationSays(t *testing.T) {
	t.Parallel()
	s := newSystem(t, defaults).start()
	s.wake("")
	atFirst := s.inForce()
	changed := s.others()
	s.configure(changed.conf())

	unchanged := func(why string) {
		t.Helper()
		if now := s.inForce(); !equal(now, atFirst) {
			t.Errorf("%s changes the options in force", why)
		}
	}
	unchanged("an edit")
	s.reload()
	unchanged("a reload without sssd having read the files")
	_ = s.sssd.Process.Signal(syscall.SIGHUP)
	s.killHard("sssd_kcm")
	s.wake("")
	unchanged("SIGHUP, or the restart of a responder,")
	s.genconf(exitOK)
	unchanged("sssd --genconf alone")

	s.reload()
	reloaded := s.inForce()
	s.restart()
	s.wake(changed["kcm"]["socket_path"])
	restarted := s.inForce()
	live, fixed := 0, 0
	s.eachOption(func(section string, option *confdb.Option) {
		old, set := atFirst[section][option.Key]
		if !set {
			old = option.Default
		}
		want := changed.shown(section, option)
		if old == want {
			t.Errorf("[%s] %s: %q is tried, which is in force anyway", section, option.Key, old)
		}
		afterReload := old
		if option.Live {
			afterReload = want
			live++
		} else {
			fixed++
		}
		if now := reloaded[section][option.Key]; now != afterReload {
			t.Errorf("[%s] %s = %q after a reload, want %q (live: %v)", section, option.Key, now, afterReload, option.Live)
		}
		if now := restarted[section][option.Key]; now != want {
			t.Errorf("[%s] %s = %q after a restart of sssd, want %q", section, option.Key, now, want)
		}
	})
	t.Logf("%d options are taken over by a reload, %d by a restart of sssd", live, fixed)
	if live == 0 || fixed == 0 {
		t.Error("one kind of option is not there at all; the test shows nothing")
	}
}

// TestOptionsInForceAct looks at what some options do, besides what the
// responder says of them.
func TestOptionsInForceAct(t *testing.T) {
	t.Parallel()
	needDefaultLevel(t)
	s := newSystem(t, "[kcm]\nccache_storage = memory\nfd_limit = 2000\n").start()
	s.wake("")
	me, name := user(os.Getuid()), fmt.Sprint(os.Getuid())
	c := s.kcm()
	for i := range 2 {
		if err := c.Initialize(fmt.Sprintf("%s:%d", name, i), principal("alice")); err != nil {
			t.Fatal(err)
		}
	}
	s.sh(me, `"$BIN"/sssctl --root "$ROOT" debug-level --kcm 9`)
	level := func() string { return s.sh(me, `"$BIN"/sssctl --root "$ROOT" debug-level --kcm`) }

	s.configure("[kcm]\nccache_storage = memory\nfd_limit = 1000\nmax_uid_ccaches = 2\n")
	s.genconf(exitOK)
	s.reload()
	if err := c.Initialize(name+":2", principal("alice")); err == nil {
		t.Error("max_uid_ccaches is not in force after a reload")
	}
	expect(t, level(), "0x0070") // what sssctl has set was for a while
	expect(t, s.log("sssd_kcm"), "need a restart", "[kcm] fd_limit")
	if got := s.descriptorLimit(); got != 2000 {
		t.Errorf("fd_limit is %d after a reload, want 2000", got)
	}
	s.configure("[kcm]\nccache_storage = memory\nfd_limit = 1000\ndebug_level = 0x0070\n")
	s.genconf(exitOK)
	s.reload()
	if err := c.Initialize(name+":2", principal("alice")); err != nil {
		t.Errorf("max_uid_ccaches is in force after a reload without it: %v", err)
	}
	s.restart()
	s.wake("")
	if got := s.descriptorLimit(); got != 1000 {
		t.Errorf("fd_limit is %d after a restart, want 1000", got)
	}
	expect(t, level(), "0x0070")
}

// TestOptionsThatAreNotServedAreToldAndStopNothing guards that an sssd.conf of
// SSSD's is taken, and that nobody is left to believe that validation, say, works.
func TestOptionsThatAreNotServedAreToldAndStopNothing(t *testing.T) {
	t.Parallel()
	needDefaultLevel(t)
	s := newSystem(t, defaults)
	conf := "[sssd]\nservices = nss, pam\ndomains = example.com\n"
	for _, d := range responders.List() {
		for _, section := range d.Sections {
			lines := ""
			for i := range section.Options {
				if option := &section.Options[i]; option.NotServed != "" {
					lines += option.Key + " = " + other(option) + "\n"
				}
			}
			if lines != "" {
				conf += "[" + strings.ReplaceAll(section.Name, "*", nobody) + "]\n" + lines
			}
		}
	}
	s.configure(conf)
	said := s.sh(user(os.Getuid()), `"$BIN"/sssctl --root "$ROOT" config-check`)
	for i, line := range strings.Split(strings.TrimSpace(conf), "\n") {
		if key, _, found := strings.Cut(line, " = "); found {
			expect(t, said, fmt.Sprintf("sssd.conf:%d: ", i+1), key+": ")
		}
	}
	loud := []string{"[sssd] domains: has no effect", "[sssd] services: this build ", "[secrets] provider: has no effect"}
	expect(t, said, append(loud, "Warnings: 3\n", "krb5_validate: has no effect")...)
	generated := s.genconf(exitOK)
	expect(t, generated, loud...)
	refuse(t, generated, "krb5_validate")
	s.start() // at the default level of the log
	expect(t, s.log("sssd"), loud...)
	refuse(t, s.log("sssd"), "krb5_validate")
}

// wake makes both responders run and register. kcmSocket is where [kcm]
// socket_path says, if it does.
func (s *system) wake(kcmSocket string) {
	s.t.Helper()
	c := s.kcmAt(cmp.Or(kcmSocket, sockets["sssd_kcm"]))
	if _, err := c.Call(protocol.OpGetDefaultCache, nil); err != nil {
		s.t.Fatal(err)
	}
	c.reset()
	conn, err := net.Dial("unix", s.path("/var/run/secrets.socket"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /secrets/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\r\n")
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
		s.t.Fatal(err)
	}
	s.bus(sbus.MonitorName, sbus.MonitorPath, sbus.MonitorInterface, "ListServices") // waits for who registers
}

// bus calls a method over the private bus.
func (s *system) bus(name string, path dbus.ObjectPath, iface, method string) []any {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := sbus.Dial(ctx, s.path(layout.Current().Bus), nil, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	reply, err := conn.Call(ctx, name, path, iface, method)
	if err != nil {
		s.t.Fatalf("%s of %s: %v", method, name, err)
	}
	return reply
}

// reload asks both responders to take over the live options.
func (s *system) reload() {
	s.t.Helper()
	for _, d := range responders.List() {
		s.bus(sbus.ServiceName(d.Name), sbus.ServicePath, sbus.ServiceInterface, "Reload")
	}
}

// inForce asks both responders for their options.
func (s *system) inForce() options {
	s.t.Helper()
	all := options{}
	for _, d := range responders.List() {
		reply := s.bus(sbus.ServiceName(d.Name), sbus.ServicePath, sbus.ServiceInterface, "Options")
		var of options
		if err := dbus.Store(reply, &of); err != nil {
			s.t.Fatal(err)
		}
		maps.Copy(all, of)
	}
	return all
}

// genconf runs sssd --genconf, which must end with an exit code, and returns
// what it says.
func (s *system) genconf(code int, args ...string) string {
	s.t.Helper()
	out, _, ended := s.sssdOnce(append([]string{"--genconf"}, args...)...)
	if ended != code {
		s.t.Fatalf("sssd --genconf ends with %d, want %d:\n%s", ended, code, out)
	}
	return out
}

// sssdOnce runs sssd to its end.
func (s *system) sssdOnce(args ...string) (output string, took time.Duration, code int) {
	cmd := exec.Command(s.bin+"/sssd", append(args, "--root", s.root)...)
	began := time.Now()
	out, _ := cmd.CombinedOutput()
	return string(out), time.Since(began), cmd.ProcessState.ExitCode()
}

// descriptorLimit is the soft limit of descriptors of sssd_kcm's process.
func (s *system) descriptorLimit() int {
	s.t.Helper()
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", s.pid("sssd_kcm")))
	if err != nil {
		s.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(limits), "Max open files")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// eachOption visits every option of both responders that takes more than its
// default.
func (s *system) eachOption(visit func(section string, option *confdb.Option)) {
	for _, section := range responder.Schema(responders.List()) {
		name := strings.ReplaceAll(section.Name, "*", nobody)
		if name == "sssd" || section.Open {
			continue
		}
		for i := range section.Options {
			if section.Options[i].NotServed == "" {
				visit(name, &section.Options[i])
			}
		}
	}
}

// others returns for every option another value than its default.
func (s *system) others() options {
	all := options{}
	s.eachOption(func(section string, option *confdb.Option) {
		if all[section] == nil {
			all[section] = map[string]string{}
		}
		text := other(option)
		if option.Key == "command" {
			text = s.bin + "/sssd_" + section + " --root=" + s.root
		}
		all[section][option.Key] = text
	})
	return all
}

// other returns a good value of an option that is not its default.
func other(option *confdb.Option) string {
	switch option.Kind {
	case confdb.Bool:
		return strconv.FormatBool(option.Default != "true")
	case confdb.Int, confdb.Duration:
		n, _ := strconv.ParseInt(option.Default, 0, 64)
		return strconv.FormatInt(max(n+1, option.Min), 10)
	case confdb.Word:
		i := slices.IndexFunc(option.Words, func(word string) bool { return word != option.Default })
		return option.Words[i]
	case confdb.Path:
		return "/var/run/other-" + option.Key
	case confdb.Mode:
		return "0640"
	}
	return "other-" + option.Key
}

// conf writes the options as sssd.conf.
func (o options) conf() string {
	var text strings.Builder
	for section, values := range o {
		fmt.Fprintf(&text, "[%s]\n", section)
		for key, value := range values {
			fmt.Fprintf(&text, "%s = %s\n", key, value)
		}
	}
	return text.String()
}

// shown returns an option as it may be shown.
func (o options) shown(section string, option *confdb.Option) string {
	if option.Secret {
		return "********"
	}
	return o[section][option.Key]
}

func equal(a, b options) bool {
	return maps.EqualFunc(a, b, maps.Equal[map[string]string])
}
