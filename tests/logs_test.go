package tests

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"gosssd/kcm/protocol"
	"gosssd/layout"
	"gosssd/responder"
)

// processes are the programs with a log each.
var processes = []string{"sssd", "sssd_kcm", "sssd_secrets"}

// talkative makes every process log what an administrator does.
const talkative = "[sssd]\ndebug_level = 4\n[kcm]\ndebug_level = 4\n[secrets]\ndebug_level = 4\n"

// logPath is the log of a process.
func (s *system) logPath(process string) string {
	return s.path(responder.LogDir + "/" + process + ".log")
}

// signal sends a signal to a process of the system.
func (s *system) signal(process string, signal syscall.Signal) {
	s.t.Helper()
	if err := syscall.Kill(s.pid(process), signal); err != nil {
		s.t.Fatalf("%v to %s: %v", signal, process, err)
	}
}

// awaitLog waits until a process has logged a text.
func (s *system) awaitLog(process, text string) {
	s.t.Helper()
	await(func() bool { return strings.Contains(s.log(process), text) })
	expect(s.t.(*testing.T), s.log(process), text)
}

// moveLogs renames the logs as logrotate does, and returns what they hold.
func (s *system) moveLogs(suffix string) map[string]string {
	s.t.Helper()
	held := map[string]string{}
	for _, process := range processes {
		held[process] = s.log(process)
		if err := os.Rename(s.logPath(process), s.logPath(process)+suffix); err != nil {
			s.t.Fatal(err)
		}
	}
	return held
}

// TestHUPRotatesEveryLogAndReadsNoConfiguration also guards the way of
// logrotate's scripts that signal each process by itself.
func TestHUPRotatesEveryLogAndReadsNoConfiguration(t *testing.T) {
	t.Parallel()
	needDefaultLevel(t)
	const notRead = "configuration is read only when sssd starts"
	s := newSystem(t, talkative).start()
	s.wake("")
	for _, process := range processes[1:] { // which says so after the monitor knows
		s.awaitLog(process, "registered with the monitor")
	}
	s.configure(strings.ReplaceAll(talkative, "4", "9"))
	for round, hup := range []func(){
		func() { s.signal("sssd", syscall.SIGHUP) },
		func() {
			for _, process := range processes {
				s.signal(process, syscall.SIGHUP)
			}
		},
	} {
		suffix := fmt.Sprint(".", round)
		held := s.moveLogs(suffix)
		hup()
		for _, process := range processes {
			s.awaitLog(process, notRead)
		}
		if got := s.ctl(user(os.Getuid()), "", "debug-level", "4"); got.code != 0 { // each logs that
			t.Errorf("%+v", got)
		}
		for _, process := range processes {
			s.awaitLog(process, "debug_level is changed")
			info, err := os.Stat(s.logPath(process))
			if err != nil || info.Mode() != 0o600 {
				t.Errorf("the new log of %s: %v, %v", process, info.Mode(), err)
			}
			old, err := os.ReadFile(s.logPath(process) + suffix)
			if err != nil || string(old) != held[process] {
				t.Errorf("%s has written to the old log, %v:\n%s", process, err, old)
			}
		}
	}
	if got := s.levels(); strings.Count(got, "0x01f0") != 3 {
		t.Errorf("levels after SIGHUP:\n%s", got)
	}
}

func TestALevelSetAtRunTimeOutlivesHUPAndNotARestart(t *testing.T) {
	t.Parallel()
	s := newSystem(t, talkative).start()
	s.wake("")
	before := s.levels()
	if got := s.ctl(user(os.Getuid()), "", "debug-level", "8"); got.code != 0 {
		t.Errorf("%+v", got)
	}
	s.moveLogs(".1")
	s.signal("sssd", syscall.SIGHUP)
	s.awaitLog("sssd", "SIGHUP rotates logs")
	if got := s.levels(); strings.Count(got, "0x37f0") != 3 {
		t.Errorf("levels after SIGHUP:\n%s", got)
	}
	s.restart()
	s.wake("")
	if got := s.levels(); got != before {
		t.Errorf("levels after a restart:\n%s", got)
	}
}

// logLine is a line of SSSD 2.x, with the parts that options change.
func logLine(time, client string) *regexp.Regexp {
	return regexp.MustCompile(`^` + time + `\[(sssd|kcm|secrets)\] \[[A-Za-z]\w*\] \(0x[0-9a-f]{4,5}\): ` + client + `\S.*$`)
}

func TestLogLinesHaveTheFormOfSSSD(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "[sssd]\ndebug_level = 9\n[kcm]\ndebug_level = 9\ndebug_microseconds = true\n[secrets]\ndebug_level = 9\ndebug_timestamps = false\n").start()
	s.wake("")
	if err := s.kcm().Initialize(fmt.Sprint(os.Getuid()), principal("alice")); err != nil {
		t.Fatal(err)
	}
	s.kill(syscall.SIGTERM)
	const clock = `\(\d{4}-\d\d-\d\d [ 12]\d:[0-5]\d:[0-5]\d`
	for process, time := range map[string]string{"sssd": clock + `\): `, "sssd_kcm": clock + `:\d{6}\): `, "sssd_secrets": ""} {
		form, named := logLine(time, `(\[CID#[1-9]\d*\] )?`), logLine(time, `\[CID#[1-9]\d*\] `)
		lines, clients := 0, 0
		for text := range strings.Lines(s.log(process)) {
			text = strings.TrimSuffix(text, "\n")
			lines++
			if !form.MatchString(text) {
				t.Errorf("%s.log: %s", process, text)
			}
			if named.MatchString(text) {
				clients++
			}
		}
		t.Logf("%s: %d lines, %d of them of a client", process, lines, clients)
		if lines < 5 || clients == 0 && process != "sssd" {
			t.Errorf("%s has logged %d lines, %d of them of a client; the test shows nothing", process, lines, clients)
		}
	}
	if logLine(clock+`\): `, "").MatchString("(2026-11-03 9:05:07): [kcm] [f] (0x0010): text") {
		t.Error("an hour without its padding passes; the test shows nothing")
	}
}

func TestSignalsWithoutMeaningAreLoggedAndHarmless(t *testing.T) {
	t.Parallel()
	s := newSystem(t, talkative).start()
	s.wake("")
	pids := map[string]int{}
	for _, process := range processes {
		pids[process] = s.pid(process)
		for _, signal := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGUSR2} {
			s.signal(process, signal)
			s.awaitLog(process, fmt.Sprintf("a signal without meaning here is ignored: signal=%q", signal))
		}
	}
	s.wake("")
	for _, process := range processes {
		if pid := s.pid(process); pid != pids[process] {
			t.Errorf("%s was process %d and is %d", process, pids[process], pid)
		}
	}
}

func TestLoggerStderrWritesNoFiles(t *testing.T) {
	t.Parallel()
	s := newSystem(t, talkative)
	s.args = []string{"-i"}
	s.start()
	s.wake("")
	s.kill(syscall.SIGTERM)
	expect(t, s.output.String(), "): [sssd] [", "): [kcm] [", "): [secrets] [")
	if logs, err := os.ReadDir(s.path(responder.LogDir)); err != nil || len(logs) > 0 {
		t.Errorf("the log directory holds %v, %v", logs, err)
	}
}

// journal is a stand-in for journald in a /run of its own, which writes down
// what it is sent, before a script that runs sssd.
const journal = `
mount -t tmpfs none /run
mkdir -p /run/systemd/journal
python3 -c '
import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("/run/systemd/journal/socket")
print("listening", flush=True)
while True: print(s.recv(65536).decode(), flush=True)' >"$ROOT/journal" &
journal=$!
trap 'kill $journal' EXIT
until grep -q listening "$ROOT/journal"; do sleep 0.01; done
`

func TestJournaldIsSentTheFieldsOfSSSD(t *testing.T) {
	t.Parallel()
	needRoot(t)
	needRealm(t)
	needProgram(t, "python3")
	needNamespaces(t, "--mount")
	s := newSystem(t, talkative)
	s.sh(0, `unshare --mount sh -euc '`+strings.ReplaceAll(journal, `'`, `'\''`)+`
		"$BIN"/sssd -D --logger=journald --root "$ROOT"
		klist || :
		"$BIN"/sssctl --root "$ROOT" status >/dev/null # waits for who registers
		kill $(cat "$ROOT/run/sssd.pid")
		until grep -q MESSAGE=ended "$ROOT/journal"; do sleep 0.01; done'`)
	b, err := os.ReadFile(s.path("/journal"))
	if err != nil {
		t.Fatal(err)
	}
	field := regexp.MustCompile(`(?m)^[A-Z_]+=`)
	programs := map[string]int{}
	for _, entry := range strings.Split(strings.TrimSpace(strings.TrimPrefix(string(b), "listening\n")), "\n\n") {
		fields := field.FindAllString(entry, -1)
		fields = slices.DeleteFunc(fields, func(name string) bool { return strings.HasPrefix(name, "GOSSSD_") || name == "MESSAGE_ID=" })
		slices.Sort(fields)
		want := "CODE_FILE= CODE_FUNC= CODE_LINE= MESSAGE= PRIORITY= SSSD_DEBUG_LEVEL= SSSD_DOMAIN= SSSD_PRG_NAME= SYSLOG_IDENTIFIER="
		if got := strings.Join(fields, " "); got != want {
			t.Errorf("fields %s in:\n%s", got, entry)
		}
		name := regexp.MustCompile(`(?m)^SSSD_PRG_NAME=(.*)`).FindStringSubmatch(entry)
		programs[name[1]]++
	}
	t.Logf("entries: %v", programs)
	if programs["sssd[sssd]"] == 0 || programs["sssd[kcm]"] == 0 || programs["sssd[secrets]"] == 0 {
		t.Errorf("entries: %v:\n%s", programs, b)
	}
	if logs, err := filepath.Glob(s.logPath("*")); err != nil || len(logs) > 0 {
		t.Errorf("there are logs: %v, %v", logs, err)
	}
}

func TestSssdBecomesADaemonThatServes(t *testing.T) {
	t.Parallel()
	s := newSystem(t, defaults)
	daemon := func() (string, int) { // ends when nobody holds stderr any more
		out, _, code := s.sssdOnce("-D")
		return out, code
	}
	if out, code := daemon(); code != 0 || out != "" {
		t.Fatalf("sssd -D ends with %d: %s", code, out)
	}
	pid := responder.HolderPID(s.path(layout.Current().PIDFile))
	t.Cleanup(func() {
		if pid != 0 && responder.HolderPID(s.path(layout.Current().PIDFile)) == pid {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	if _, err := s.kcm().Call(protocol.OpGetDefaultCache, nil); err != nil {
		t.Error(err)
	}
	expect(t, s.ctl(user(os.Getuid()), "", "status").stdout, fmt.Sprint(pid), "running")
	if session, err := unix.Getsid(pid); err != nil || session != pid {
		t.Errorf("the daemon is in session %d, %v; want one of its own", session, err)
	}
	info, err := os.Stat(s.path(layout.Current().PIDFile))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("pid file: %v, %v", info.Mode(), err)
	}
	if out, code := daemon(); code != 6 {
		t.Errorf("a second one ends with %d: %s", code, out)
	}
	s.signal("sssd", syscall.SIGTERM)
	await(func() bool { return responder.HolderPID(s.path(layout.Current().PIDFile)) == 0 })
	if s.pid("sssd") != 0 {
		t.Fatal("the daemon does not end")
	}

	s.configure("[kcm]\ndebug_levl = 3\n")
	out, code := daemon()
	if code != exitConfig {
		t.Errorf("with a typo it ends with %d", code)
	}
	expect(t, out, "sssd.conf:2: ", "debug_levl")
}

func TestLogsAreEmptiedOrDeletedWhileEverythingRuns(t *testing.T) {
	t.Parallel()
	s := newSystem(t, talkative).start()
	s.wake("")
	me := user(os.Getuid())
	s.write(responder.LogDir+"/sssd.log.1", "old\n", 0o600)
	s.write(responder.LogDir+"/old/x.log", "old\n", 0o600)
	elsewhere := s.path("/elsewhere")
	s.write("/elsewhere", "not a log\n", 0o600)
	if err := os.Symlink(elsewhere, s.logPath("link")); err != nil {
		t.Fatal(err)
	}
	expect(t, s.log("sssd"), "ready")

	got := s.ctl(me, "", "logs-remove")
	if got.stdout != "Truncating log files...\n" || got.code != 1 { // the link
		t.Errorf("%+v", got)
	}
	expect(t, got.stderr, "link.log")
	for _, process := range processes {
		refuse(t, s.log(process), "ready")
	}
	_ = os.Remove(s.logPath("link"))
	if got := s.ctl(me, "", "logs-remove"); got != (said{stdout: "Truncating log files...\n"}) {
		t.Errorf("%+v", got)
	}
	if !exists(s.path(responder.LogDir + "/sssd.log.1")) {
		t.Error("truncating has deleted a rotated log")
	}

	if got := s.ctl(me, "", "logs-remove", "--delete"); got != (said{stdout: "Deleting log files...\n"}) {
		t.Errorf("%+v", got)
	}
	if got := s.ctl(me, "", "debug-level", "4"); got.code != 0 {
		t.Errorf("%+v", got)
	}
	var names []string
	entries, err := os.ReadDir(s.path(responder.LogDir))
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	if want := []string{"sssd.log", "sssd_kcm.log", "sssd_secrets.log"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("after --delete there are %v, %v", names, err)
	}
	for _, process := range processes {
		expect(t, s.log(process), "debug_level is changed")
	}
	if text, err := os.ReadFile(elsewhere); err != nil || string(text) != "not a log\n" {
		t.Errorf("behind a link: %q, %v", text, err)
	}
}

// TestAResponderWithoutAMonitorLogsOnAfterLogsRemove guards machines where
// systemd starts a responder and sssd does not run.
func TestAResponderWithoutAMonitorLogsOnAfterLogsRemove(t *testing.T) {
	t.Parallel()
	s := newSystem(t, talkative).start()
	s.wake("")
	s.kill(syscall.SIGKILL)
	if got := s.ctl(user(os.Getuid()), "", "logs-remove", "-d"); got != (said{stdout: "Deleting log files...\n"}) {
		t.Errorf("%+v", got)
	}
	s.awaitLog("sssd_kcm", "the log file is reopened")
	s.awaitLog("sssd_secrets", "the log file is reopened")
}

func TestLogsAreFetchedAsOneArchive(t *testing.T) {
	t.Parallel()
	needProgram(t, "tar")
	s := newSystem(t, talkative).start()
	s.wake("")
	me := user(os.Getuid())
	s.write(responder.LogDir+"/sssd.log.1", "old\n", 0o600)
	archive := s.path("/strange; name $(id).tgz")
	for range 2 { // also over an older one
		if got := s.ctl(me, "", "logs-fetch", archive); got != (said{stdout: "Archiving log files into " + archive + "...\n"}) {
			t.Fatalf("%+v", got)
		}
	}
	info, err := os.Stat(archive)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	b, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	held := unpack(t, b)
	for _, process := range processes {
		text := held["var/log/sssd/"+process+".log"]
		if text == "" || !strings.HasPrefix(s.log(process), text) {
			t.Errorf("%s.log in the archive:\n%s", process, text)
		}
	}
	if len(held) != 3 {
		t.Errorf("the archive holds %d files", len(held))
	}
	cmd := exec.Command("tar", "-tzf", archive)
	if out, err := cmd.CombinedOutput(); err != nil || strings.Count(string(out), "\n") != 3 {
		t.Errorf("tar: %s%v", out, err)
	}

	for args, want := range map[string]string{
		"":                         "an argument is missing",
		"/no/such/directory/x.tgz": "no such file",
		"/dev/null":                "not a regular file",
	} {
		if got := s.ctl(me, "", append([]string{"logs-fetch"}, strings.Fields(args)...)...); got.code != 1 || !strings.Contains(got.stderr, want) {
			t.Errorf("logs-fetch %s: %+v", args, got)
		}
	}
	s.kill(syscall.SIGTERM)
	if err := os.RemoveAll(s.path(responder.LogDir)); err != nil {
		t.Fatal(err)
	}
	if got := s.ctl(me, "", "logs-fetch", archive); got.code != 1 || !exists(archive) {
		t.Errorf("without logs: %+v", got)
	}
}

// unpack returns the files of a compressed archive.
func unpack(t *testing.T, b []byte) map[string]string {
	t.Helper()
	zipped, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for archive := tar.NewReader(zipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name] = string(text)
	}
}
