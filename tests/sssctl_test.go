package tests

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"gosssd/kcm/protocol"
)

// said is what a command said, and how it ended.
type said struct {
	stdout, stderr string
	code           int
}

// ctl runs sssctl as a user, with stdin, on the root of s.
func (s *system) ctl(u user, stdin string, args ...string) said {
	s.t.Helper()
	return s.ctlOf(u, stdin, append([]string{"--root", s.root}, args...)...)
}

func (s *system) ctlOf(u user, stdin string, args ...string) said {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.bin+"/"+s.form.Tool, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	cmd.Env, cmd.Dir = s.env, "/"
	if int(u) != os.Getuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(u), Gid: uint32(u)}}
	}
	_ = cmd.Run() // its exit code says it
	return said{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// levels are the debug levels of services as sssctl prints them.
func (s *system) levels(services ...string) string {
	s.t.Helper()
	var args []string
	for _, service := range services {
		args = append(args, "--"+service)
	}
	out := s.ctl(user(os.Getuid()), "", append([]string{"debug-level"}, args...)...)
	if out.code != 0 {
		s.t.Fatalf("debug-level %v: %+v", services, out)
	}
	return out.stdout
}

// line is a line of debug-level.
func line(service, text string) string { return fmt.Sprintf("%-25s %s\n", service, text) }

func TestDebugLevelSpeaksAndEndsAsThatOfSSSD(t *testing.T) {
	t.Parallel()
	needDefaultLevel(t)
	s := newSystem(t, "[kcm]\ndebug_level = 3\nccache_storage = memory\n")
	me := user(os.Getuid())
	notRunning := said{stderr: "SSSD is not running.\n", code: 1}
	for _, args := range [][]string{{}, {"--kcm"}, {"9"}} {
		if got := s.ctl(me, "", append([]string{"debug-level"}, args...)...); got != notRunning {
			t.Errorf("debug-level %v without sssd: %+v", args, got)
		}
	}
	s.start()
	if _, err := s.kcm().Call(protocol.OpGetDefaultCache, nil); err != nil {
		t.Fatal(err)
	}
	sssd, secrets, kcm := line("sssd", "0x0070"), line("secrets", "0x0070"), line("kcm", "0x00f0")
	for _, c := range []struct {
		args string
		want said
	}{
		{"", said{stdout: sssd + secrets + kcm}}, // of secrets, which nobody has asked yet, what it will start with
		{"--sssd --kcm", said{stdout: sssd + kcm}},
		{"--secrets 5", said{}},
		{"--secrets --kcm", said{stdout: line("secrets", "0x03f0") + kcm}},
		{"6", said{}},
		{"", said{stdout: line("sssd", "0x07f0") + line("secrets", "0x07f0") + line("kcm", "0x07f0")}},
		{"--kcm 0", said{}},
		{"--kcm", said{stdout: line("kcm", "0x0010")}},
		{"--kcm 0x1000", said{}},
		{"--kcm", said{stdout: line("kcm", "0x1000")}},
		{"--kcm 010", said{}}, // octal
		{"--kcm", said{stdout: line("kcm", "0x37f0")}},
		{"--kcm 11", said{}},
		{"--kcm", said{stdout: line("kcm", "0x3f7f0")}},
		{"--sssd", said{stdout: line("sssd", "0x07f0")}},
	} {
		if got := s.ctl(me, "", strings.Fields("debug-level "+c.args)...); got != c.want {
			t.Errorf("debug-level %s: %+v, want %+v", c.args, got, c.want)
		}
	}
	for _, bad := range []string{"x", "0x", "99999999", "1 2", "--nss", "--persist"} {
		if got := s.ctl(me, "", strings.Fields("debug-level "+bad)...); got.code != 1 || got.stdout != "" || got.stderr == "" {
			t.Errorf("debug-level %s: %+v", bad, got)
		}
	}
}

func TestALevelOfAServiceThatDoesNotRunIsInForceFromItsStart(t *testing.T) {
	t.Parallel()
	s := newSystem(t, defaults).start()
	me := user(os.Getuid())
	if got := s.ctl(me, "", "debug-level", "--kcm", "6"); got != (said{}) {
		t.Fatalf("%+v", got)
	}
	if s.pid("sssd_kcm") != 0 {
		t.Fatal("kcm runs already; the test shows nothing")
	}
	s.wake("")
	expect(t, s.log("sssd_kcm"), "] (0x0400): ")
	// And again when it has ended and is started for the next client.
	s.sh(me, `busctl --address="$BUS" call sssd.kcm /org/freedesktop/sssd/service org.freedesktop.sssd.service Drain`)
	s.wake("")
	if got := s.levels("kcm"); got != line("kcm", "0x07f0") {
		t.Errorf("after its next start: %s", got)
	}
}

func TestSssctlWithoutACommandPrintsItsUsageAndFails(t *testing.T) {
	t.Parallel()
	s := newSystem(t, defaults)
	for _, args := range []string{"", "secrets"} {
		got := s.ctl(user(os.Getuid()), "", strings.Fields(args)...)
		if got.code != 1 || got.stdout != "" || strings.Count(got.stderr, "Usage:") != 1 {
			t.Errorf("sssctl %s: %+v", args, got)
		}
		expect(t, got.stderr, "Usage: sssctl ", "COMMAND [OPTION...]\n\nCommands:\n")
	}
	if got := s.ctl(user(os.Getuid()), "", "--debug", "9", "status"); got.code != 3 {
		t.Errorf("%+v", got)
	} else {
		expect(t, got.stderr, "[sssctl]", "SSSD is not running.\n")
	}
}

// TestAWrongCommandLineOfSssctlIsExplained compares all that is said, word for
// word: one sentence, and what would be right.
func TestAWrongCommandLineOfSssctlIsExplained(t *testing.T) {
	t.Parallel()
	s := newSystem(t, defaults)
	for args, want := range map[string]string{
		"stats":                  "there is no command \"stats\"; did you mean 'status'?\n'sssctl --help' lists the commands",
		"frobnicate":             "there is no command \"frobnicate\"\n'sssctl --help' lists the commands",
		"secrets lst":            "there is no command \"lst\"; did you mean 'list'?\n'sssctl secrets --help' lists the commands",
		"help logs-fech":         "there is no command \"logs-fech\"; did you mean 'logs-fetch'?\n'sssctl --help' lists the commands",
		"status now":             "there is an argument too many: \"now\"\nUsage: sssctl status [OPTION...]",
		"logs-fetch":             "an argument is missing\nUsage: sssctl logs-fetch FILE [OPTION...]",
		"config-check --frob":    "there is no option --frob\nUsage: sssctl config-check [OPTION...]",
		"config-check --snipet":  "there is no option --snipet; did you mean '--snippet'?\nUsage: sssctl config-check [OPTION...]",
		"config-check -x":        "there is no option -x\nUsage: sssctl config-check [OPTION...]",
		"config-check -c":        "--config needs a value\nUsage: sssctl config-check [OPTION...]",
		"debug-level --kcm=x":    "--kcm: must be true or false\nUsage: sssctl debug-level [LEVEL] [OPTION...]",
		"secrets list --uid all": "--uid: must be a non-negative integer\nUsage: sssctl secrets list [CONTAINER] [OPTION...]",
	} {
		if got := s.ctl(user(os.Getuid()), "", strings.Fields(args)...); got != (said{stderr: "sssctl: " + want + "\n", code: 1}) {
			t.Errorf("sssctl %s: %+v", args, got)
		}
	}
}

// TestHelpAndVersionSpeakOfThisProduct guards that no help speaks of the
// framework or of other systems.
func TestHelpAndVersionSpeakOfThisProduct(t *testing.T) {
	t.Parallel()
	run := func(program string, args ...string) string {
		out, err := exec.Command(programs+"/"+program, args...).CombinedOutput()
		if err != nil {
			t.Errorf("%s %v: %v", program, args, err)
		}
		return string(out)
	}
	for _, program := range []string{"sssd", "sssd_kcm", "sssd_secrets", "sssctl"} {
		if got := run(program, "--version"); !strings.HasPrefix(got, program+" (gosssd) ") || strings.Count(got, "\n") != 1 {
			t.Errorf("%s --version: %s", program, got)
		}
		help := run(program, "--help")
		expect(t, help, "Usage: "+program+" ", "--root DIR", "--version")
		refuse(t, help, "true|false", "macOS", "brew", "[flags]", "[command]")
	}
	for _, command := range []string{"status", "debug-level", "config-check", "secrets", "secrets get", "completion"} {
		help := run("sssctl", append(strings.Fields(command), "-h")...)
		expect(t, help, "\nUsage: sssctl "+command)
		refuse(t, help, "true|false", "macOS", "brew", "[flags]", "[command]", "Global Flags")
	}
}

func TestWhatIsForRootIsRefusedToOthers(t *testing.T) {
	t.Parallel()
	needRoot(t)
	s := newSystem(t, defaults)
	const somebody user = 20001
	for _, command := range []string{"status", "debug-level", "logs-remove", "logs-fetch /tmp/x", "secrets rekey", "ccache move"} {
		words := strings.Fields(command)
		name := strings.TrimPrefix(strings.TrimPrefix(words[0]+" "+words[len(words)-1], "secrets "), "ccache ")
		name, _, _ = strings.Cut(name, " ")
		want := said{stderr: "'" + name + "' must be run as root\n", code: 1}
		if got := s.ctlOf(somebody, "", words...); got != want {
			t.Errorf("sssctl %s: %+v, want %+v", command, got, want)
		}
	}
}

func TestAPersistentLevelIsInForceAfterARestart(t *testing.T) {
	t.Parallel()
	needDefaultLevel(t)
	const conf = "[sssd]\n# mine\n[kcm]\ndebug_level = 3\n"
	s := newSystem(t, conf)
	me := user(os.Getuid())
	snippet := s.path("/etc/sssd/conf.d/90-sssctl-debug-level.conf")
	written := "Written to " + snippet + " for the next start of sssd.\n"

	// Before sssd runs: it will start with the level.
	if got := s.ctl(me, "", "debug-level", "--persist", "--sssd", "5"); got != (said{stdout: written}) {
		t.Errorf("without sssd: %+v", got)
	}
	s.start()
	s.wake("")
	if got := s.levels(); got != line("sssd", "0x03f0")+line("secrets", "0x0070")+line("kcm", "0x00f0") {
		t.Errorf("levels:\n%s", got)
	}
	// While it runs: at once and after the restart; the other section stays.
	if got := s.ctl(me, "", "debug-level", "--persist", "--kcm", "0x7f0"); got != (said{stdout: written}) {
		t.Errorf("with sssd: %+v", got)
	}
	want := line("sssd", "0x03f0") + line("kcm", "0x07f0")
	if got := s.levels("sssd", "kcm"); got != want {
		t.Errorf("at once:\n%s", got)
	}
	s.restart()
	s.wake("")
	if got := s.levels("sssd", "kcm"); got != want {
		t.Errorf("after a restart:\n%s", got)
	}

	text, err := os.ReadFile(snippet)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, string(text), "# Written by \"sssctl debug-level --persist\"", "[sssd]\ndebug_level = 0x03f0\n[kcm]\ndebug_level = 0x07f0\n")
	if info, err := os.Stat(snippet); err != nil || info.Mode() != 0o600 {
		t.Errorf("the snippet: %v, %v", info, err)
	}
	if main, err := os.ReadFile(s.path("/etc/sssd/sssd.conf")); err != nil || string(main) != conf {
		t.Errorf("sssd.conf is now %q, %v", main, err)
	}
	if entries, err := os.ReadDir(s.path("/etc/sssd/conf.d")); err != nil || len(entries) != 1 {
		t.Errorf("conf.d holds %v, %v", entries, err)
	}
}

func TestALevelThatWillNotPersistIsToldAtOnce(t *testing.T) {
	t.Parallel()
	s := newSystem(t, defaults)
	me := user(os.Getuid())
	s.write("/etc/sssd/conf.d/95-mine.conf", "[kcm]\ndebug_level = 1\n", 0o600)
	got := s.ctl(me, "", "debug-level", "--persist", "8")
	if got.code != 1 {
		t.Errorf("%+v", got)
	}
	expect(t, got.stderr, "/conf.d/95-mine.conf:2 sets [kcm] debug_level = 1, which counts more")
	refuse(t, got.stderr, "[sssd]", "[secrets]")

	s.write("/etc/sssd/conf.d/95-mine.conf", "[kcm]\ndebug_levl = 1\n", 0o600)
	got = s.ctl(me, "", "debug-level", "--persist", "8")
	if got.code != 1 {
		t.Errorf("%+v", got)
	}
	expect(t, got.stderr, "sssd cannot start with this configuration", "95-mine.conf:2", "debug_levl")

	// What somebody has broken by hand is not written over.
	const broken = "[kcm\n"
	s.write("/etc/sssd/conf.d/90-sssctl-debug-level.conf", broken, 0o600)
	if got := s.ctl(me, "", "debug-level", "--persist", "8"); got.code != 1 || got.stdout != "" {
		t.Errorf("%+v", got)
	}
	if text, err := os.ReadFile(s.path("/etc/sssd/conf.d/90-sssctl-debug-level.conf")); err != nil || string(text) != broken {
		t.Errorf("the snippet is now %q, %v", text, err)
	}
}

func TestManyPersistentLevelsAtOnceAreAllKept(t *testing.T) {
	t.Parallel()
	needDefaultLevel(t)
	s := newSystem(t, defaults)
	ended := make(chan said)
	for _, service := range []string{"sssd", "kcm", "secrets"} {
		for range 3 {
			go func() { ended <- s.ctl(user(os.Getuid()), "", "debug-level", "--persist", "--"+service, "9") }()
		}
	}
	for range 9 {
		if got := <-ended; got.code != 0 {
			t.Errorf("%+v", got)
		}
	}
	s.start()
	s.wake("")
	if got := s.levels(); strings.Count(got, "0x2f7f0") != 3 {
		t.Errorf("levels:\n%s", got)
	}
}

func TestBashCompletesSssctl(t *testing.T) {
	t.Parallel()
	needProgram(t, "bash")
	const library = "/usr/share/bash-completion/bash_completion"
	if _, err := os.Stat(library); err != nil {
		skip(t, "needs bash-completion")
	}
	s := newSystem(t, defaults)
	complete := func(words ...string) string {
		quoted := "'" + strings.Join(words, "' '") + "'"
		return s.sh(user(os.Getuid()), fmt.Sprintf(`PATH="$BIN:$PATH" bash -euc '
			set +eu
			source %s
			source <(sssctl completion bash)
			COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
			compopt() { :; }
			__start_sssctl sssctl "${COMP_WORDS[COMP_CWORD]}"
			echo "${COMPREPLY[@]}"' bash %s`, library, quoted))
	}
	expect(t, complete("sssctl", "logs-"), "logs-fetch", "logs-remove")
	expect(t, complete("sssctl", "debug-level", "--"), "--kcm", "--secrets", "--sssd", "--persist")
	expect(t, complete("sssctl", "secrets", ""), "list", "get", "set", "delete", "rekey")
	expect(t, complete("sssctl", "--root", s.root, "config-show", "sec"), "secrets", "secrets/kcm", "secrets/secrets")
	expect(t, complete("sssctl", "debug-level", ""), "0", "9", "10")
	expect(t, complete("sssctl", "completion", ""), "bash", "zsh", "fish")
	s.start()
	for _, name := range []string{"alpha", "box/", "box/beta"} {
		if got := s.ctl(user(os.Getuid()), "x", append([]string{"secrets", "set"}, name)...); got.code != 0 {
			t.Fatalf("%+v", got)
		}
	}
	expect(t, complete("sssctl", "--root", s.root, "secrets", "get", ""), "alpha", "box/")
	expect(t, complete("sssctl", "--root", s.root, "secrets", "delete", "box/"), "box/beta")
}

// TestWhatCannotBePrintedIsAFailure guards scripts that send what sssctl shows
// to a file on a full disk.
func TestWhatCannotBePrintedIsAFailure(t *testing.T) {
	t.Parallel()
	s := newSystem(t, defaults)
	s.sh(user(os.Getuid()), `"$BIN"/sssd --genconf --root "$ROOT"`)
	for _, command := range []string{"config-check", "config-show", "config-show -j", "config-show --watch"} {
		out := s.shFails(user(os.Getuid()), `"$BIN"/sssctl --root "$ROOT" `+command+` >/dev/full`)
		expect(t, out, "no space left on device")
	}
}
