package sbus

import (
	"bufio"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// pythonClient calls, introspects and reads a property in bus style.
const pythonClient = `
import sys, dbus
bus = dbus.bus.BusConnection(sys.argv[1])
monitor = bus.get_object('sssd.monitor', '/org/freedesktop/sssd/monitor')
iface = 'org.freedesktop.sssd.monitor'
print('version', int(monitor.getVersion(dbus_interface=iface)))
print('services', [str(s[0]) for s in monitor.ListServices(dbus_interface=iface)])
print('since', int(monitor.Get(iface, 'Since', dbus_interface='org.freedesktop.DBus.Properties')))
try:
    monitor.GetService('nfs', dbus_interface=iface)
except dbus.DBusException as e:
    print('error', e.get_dbus_name())
`

// TestClients runs the clients an administrator has against the bus.
func TestClients(t *testing.T) {
	const monitor = "/org/freedesktop/sssd/monitor"
	const iface = "org.freedesktop.sssd.monitor"
	const service = "/org/freedesktop/sssd/service"
	tests := map[string]struct {
		command []string // ADDRESS stands for the address of the bus
		want    []string // regular expressions, each found in the output
	}{
		"dbus-send --peer calls a method as SSSD 1.16 does": {
			[]string{"dbus-send", "--peer=ADDRESS", "--print-reply", monitor, iface + ".getVersion"},
			[]string{`uint16 1`},
		},
		"dbus-send --peer pings any path": {
			[]string{"dbus-send", "--peer=ADDRESS", "--print-reply", "/any/path", "org.freedesktop.DBus.Peer.Ping"},
			[]string{`method return`},
		},
		"dbus-send --peer passes arguments": {
			[]string{"dbus-send", "--peer=ADDRESS", "--print-reply", monitor, iface + ".RegisterService", "string:kcm", "uint16:1", "uint16:0"},
			[]string{`uint16 1`},
		},
		"dbus-send --peer sees a list of structs": {
			[]string{"dbus-send", "--peer=ADDRESS", "--print-reply", monitor, iface + ".ListServices"},
			[]string{`string "kcm"`, `uint64 7`, `string "exit status 1"`},
		},
		"dbus-send --peer sees the name of an error": {
			[]string{"dbus-send", "--peer=ADDRESS", "--print-reply", monitor, iface + ".GetService", "string:nfs"},
			[]string{`org.freedesktop.sssd.Error.NotFound: no service is named "nfs"`},
		},
		"dbus-send --bus lists names": {
			[]string{"dbus-send", "--bus=ADDRESS", "--print-reply", "--dest=org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus.ListNames"},
			[]string{`"sssd.monitor"`, `"sssd.kcm"`, `":1.0"`},
		},
		"dbus-send --bus calls a responder through the monitor": {
			[]string{"dbus-send", "--bus=ADDRESS", "--print-reply", "--dest=sssd.kcm", service, "org.freedesktop.sssd.service.Counters"},
			[]string{`string "requests"`, `uint64 3`},
		},
		"busctl list shows processes": {
			[]string{"busctl", "--address=ADDRESS", "list", "--no-pager"},
			[]string{`sssd\.monitor +\d+ sbus\.test`, `sssd\.kcm +\d+ sbus\.test`, `:1\.\d+ +\d+ busctl`},
		},
		"busctl tree finds the way down": {
			[]string{"busctl", "--address=ADDRESS", "tree", "--list", "sssd.monitor"},
			[]string{`(?m)^/org/freedesktop/sssd/monitor$`},
		},
		"busctl tree shows a responder": {
			[]string{"busctl", "--address=ADDRESS", "tree", "--list", "sssd.kcm"},
			[]string{`(?m)^/org/freedesktop/sssd/service$`, `(?m)^/org/freedesktop/sssd/kcm$`},
		},
		"busctl introspect shows members and values": {
			[]string{"busctl", "--address=ADDRESS", "introspect", "sssd.monitor", monitor},
			[]string{`\.RegisterService +method +sqq +q`, `\.ListServices +method +- +a\(ssuxtuuss\)`, `\.Version +property +s +"3\.0"`},
		},
		"busctl introspect shows the bus": {
			[]string{"busctl", "--address=ADDRESS", "introspect", "org.freedesktop.DBus", "/org/freedesktop/DBus"},
			[]string{`\.NameOwnerChanged +signal +sss`, `\.BecomeMonitor +method +asu`},
		},
		"busctl introspect shows signals": {
			[]string{"busctl", "--address=ADDRESS", "introspect", "sssd.kcm", "/org/freedesktop/sssd/kcm"},
			[]string{`\.CacheCreated +signal +uss`},
		},
		"busctl call prints a struct": {
			[]string{"busctl", "--address=ADDRESS", "call", "sssd.monitor", monitor, iface, "GetService", "s", "kcm"},
			[]string{`\(ssuxtuuss\) "kcm" "running" 42 1700000000 7 112 0 "" "/run/kcm"`},
		},
		"busctl call reports a wrong signature": {
			[]string{"busctl", "--address=ADDRESS", "call", "sssd.monitor", monitor, iface, "GetService", "u", "1"},
			[]string{`takes "s", not "u"`},
		},
		"busctl get-property reads a responder's": {
			[]string{"busctl", "--address=ADDRESS", "get-property", "sssd.kcm", service, "org.freedesktop.sssd.service", "Generation"},
			[]string{`t 7`},
		},
		"busctl set-property sets a responder's": {
			[]string{"busctl", "--address=ADDRESS", "set-property", "sssd.kcm", service, "org.freedesktop.sssd.service", "debug_level", "u", "1023"},
			[]string{`^$`},
		},
		"busctl set-property refuses what is read-only": {
			[]string{"busctl", "--address=ADDRESS", "set-property", "sssd.monitor", monitor, iface, "Version", "s", "4"},
			[]string{`Version cannot be set`},
		},
		"gdbus call prints a variant": {
			[]string{"gdbus", "call", "--address", "ADDRESS", "--dest", "sssd.monitor", "--object-path", monitor, "--method", iface + ".getVersion"},
			[]string{`\(uint16 1,\)`},
		},
		"gdbus introspect shows members and values": {
			[]string{"gdbus", "introspect", "--address", "ADDRESS", "--dest", "sssd.kcm", "--object-path", service},
			[]string{`readwrite u debug_level = `, `readonly x Since = 1700000000`},
		},
		"python3-dbus calls, reads properties and sees error names": {
			[]string{"/usr/bin/python3", "-c", pythonClient, "ADDRESS"},
			[]string{`version 1`, `services \['kcm', 'secrets'\]`, `since 1700000000`, `error org\.freedesktop\.sssd\.Error\.NotFound`},
		},
	}
	_, path := startMonitor(t)
	startResponder(t, path)
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			out := runClient(t, path, tc.command)
			for _, want := range tc.want {
				if !regexp.MustCompile(want).MatchString(out) {
					t.Errorf("output lacks %s:\n%s", want, out)
				}
			}
		})
	}
}

// client prepares a command, or skips the test if the program is missing.
func client(t *testing.T, path string, command []string) *exec.Cmd {
	t.Helper()
	if _, err := exec.LookPath(command[0]); err != nil {
		t.Skipf("NOT TESTED, this machine lacks %s: %v", command[0], err)
	}
	args := make([]string, 0, len(command))
	for _, arg := range command[1:] {
		args = append(args, strings.ReplaceAll(arg, "ADDRESS", "unix:path="+path))
	}
	cmd := exec.CommandContext(testContext(t), command[0], args...)
	cmd.WaitDelay = time.Second
	return cmd
}

func runClient(t *testing.T, path string, command []string) string {
	t.Helper()
	out, err := client(t, path, command).CombinedOutput()
	if strings.Contains(string(out), "No module named") {
		t.Skipf("NOT TESTED, python3-dbus is missing: %s", out)
	}
	t.Logf("%v\n%s", err, out)
	return strings.TrimSpace(string(out))
}

// TestObservers runs the clients that watch the bus: they see a signal of a
// responder and a call between others.
func TestObservers(t *testing.T) {
	tests := map[string]struct {
		command []string
		ready   string // a line of output after which it watches
		signal  string
	}{
		"busctl monitor": {
			[]string{"busctl", "--address=ADDRESS", "monitor"},
			"Monitoring bus message stream", "Member=CacheCreated",
		},
		"dbus-monitor": {
			[]string{"dbus-monitor", "--address", "ADDRESS"},
			"member=NameLost", "member=CacheCreated",
		},
		"dbus-monitor with a rule": {
			[]string{"dbus-monitor", "--address", "ADDRESS", "type='signal'", "sender='org.freedesktop.DBus'"},
			"member=NameLost", "member=CacheCreated",
		},
		"gdbus monitor": {
			[]string{"gdbus", "monitor", "--address", "ADDRESS", "--dest", "sssd.kcm"},
			"is owned by", "CacheCreated (uint32 1000,",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, path := startMonitor(t)
			kcm := startResponder(t, path)
			cmd := client(t, path, tc.command)
			cmd.Env = append(cmd.Environ(), "SYSTEMD_PAGER=")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			cmd.Stderr = cmd.Stdout
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			awaitLine(t, lines, tc.ready)
			defer emitUntilStopped(t, kcm)() // gdbus is ready a moment after it says so
			awaitLine(t, lines, tc.signal)
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
}

func emitUntilStopped(t *testing.T, kcm *Conn) (stop func()) {
	var emitting sync.WaitGroup
	stopped := make(chan struct{})
	emitting.Go(func() {
		for {
			if err := kcm.Emit(ResponderPath("kcm"), ResponderInterface("kcm"), "CacheCreated", uint32(1000), "1000:x", "user@REALM"); err != nil {
				t.Error(err)
			}
			select {
			case <-stopped:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	return func() { close(stopped); emitting.Wait() }
}

func awaitLine(t *testing.T, lines *bufio.Scanner, want string) {
	t.Helper()
	var seen []string
	for lines.Scan() {
		seen = append(seen, lines.Text())
		if strings.Contains(lines.Text(), want) {
			return
		}
	}
	t.Fatalf("no line with %q in:\n%s", want, strings.Join(seen, "\n"))
}
