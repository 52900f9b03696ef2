package explain

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gosssd/kcm"
	"gosssd/kcm/protocol"
	"gosssd/linux"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func noEnv(string) string { return "" }

func TestKrb5ConfIsReadAsLibkrb5Does(t *testing.T) {
	t.Parallel()
	included := write(t, "a", "[libdefaults]\n default_ccache_name = FILE:%{TEMP}/krb5cc_%{uid}_%{username}\n")
	first := write(t, "b", "include "+included+"\n[libdefaults]\n default_ccache_name = KCM:\n kcm_socket = /run/x\n")
	second := write(t, "c", "[libdefaults]\n default_ccache_name = KCM:\n")
	k := ReadKrb5([]string{first, second}, noEnv, 7, "ann")
	if k.Name.Value != "FILE:/tmp/krb5cc_7_ann" || k.Name.File != included || k.Name.Line != 2 {
		t.Errorf("the default cache is %+v, expected the first in %s", k.Name, included)
	}
	if k.Socket.Value != "/run/x" || k.Socket.File != first || k.Socket.Line != 4 || k.Libdefaults.Line != 2 {
		t.Errorf("%+v", k)
	}
	module := write(t, "d", "module /usr/lib/x.so:residual\n")
	if f := krb5Conf(&Scene{Krb5: ReadKrb5([]string{module}, noEnv, 7, "")}); f.State != Unchecked {
		t.Errorf("a module: %+v", f)
	}
	if k := ReadKrb5([]string{filepath.Join(t.TempDir(), "none")}, noEnv, 7, ""); !errors.Is(k.Err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", k.Err)
	}
}

// of returns what a check finds in a scene.
func of(t *testing.T, s *Scene, check string) Finding {
	t.Helper()
	for _, f := range Look(s) {
		if f.Check == check {
			return f
		}
	}
	t.Fatalf("there is no check %q", check)
	return Finding{}
}

func TestACauseHidesWhatItBringsAbout(t *testing.T) {
	t.Parallel()
	s := &Scene{Monitor: "sssd", Socket: Socket{Path: "/run/s", Stat: fs.ErrNotExist}, System: &System{Down: true}}
	if f := of(t, s, "monitor"); f.State != Problem {
		t.Errorf("sssd does not run: %+v", f)
	}
	for _, name := range []string{"socket", "server", "limits"} {
		if f := of(t, s, name); f.State != Unchecked || len(f.Cure) > 0 {
			t.Errorf("%s: %+v", name, f)
		}
	}
	s.System = nil
	if f := of(t, s, "monitor"); f.State != Unchecked || f.Text != "only root is told" {
		t.Errorf("for a user: %+v", f)
	}
	if f := of(t, s, "socket"); f.State != Problem || f.Cure[0].Text != "systemctl restart sssd" {
		t.Errorf("for a user: %+v", f)
	}
	s.Units = true
	if f := of(t, s, "socket"); len(f.Cure) != 2 || f.Cure[1].Text != "systemctl start sssd sssd-kcm.socket" {
		t.Errorf("where systemd holds the socket: %+v", f)
	}
}

func TestAListenerIsKnownByItsProcess(t *testing.T) {
	t.Parallel()
	running := &System{Services: []Service{{}}}
	running.Services[0].PID = 20
	for name, test := range map[string]struct {
		peer    linux.Peer
		program string
		system  *System
		want    State
	}{
		"systemd":                      {linux.Peer{PID: 1}, "/usr/lib/systemd/systemd", running, Well},
		"sssd":                         {linux.Peer{PID: 20}, "/usr/sbin/sssd", running, Well},
		"sssd, for a user":             {linux.Peer{PID: 20}, "sssd", nil, Well},
		"another sssd_kcm":             {linux.Peer{PID: 21}, "/usr/libexec/sssd/sssd_kcm", running, Problem},
		"another program":              {linux.Peer{PID: 21}, "kcm", nil, Problem},
		"unseen, for a user":           {linux.Peer{PID: 20}, "", nil, Well},
		"unseen, for root":             {linux.Peer{PID: 21}, "", running, Problem},
		"another user's sssd":          {linux.Peer{PID: 20, UID: 5}, "sssd", nil, Problem},
		"systemd of another user":      {linux.Peer{PID: 30, UID: 5}, "systemd", nil, Problem},
		"nobody, as nothing is listed": {linux.Peer{}, "", running, Well},
	} {
		f := listener(&Scene{Monitor: "sssd", System: test.system, Socket: Socket{Peer: test.peer, Program: test.program, Answer: errors.New("unasked")}})
		if f.State != test.want {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestTicketsAreJudgedByTheKDCsClock(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	after := func(d time.Duration) uint32 { return uint32(now.Add(d).Unix()) }
	for name, test := range map[string]struct {
		times  protocol.Times
		offset time.Duration
		want   string
	}{
		"a good one":                         {protocol.Times{Auth: after(-time.Hour), End: after(time.Hour)}, 0, "until"},
		"expired":                            {protocol.Times{Auth: after(-time.Hour), End: after(0)}, 0, "expired"},
		"expired by our clock, not the KDCs": {protocol.Times{Auth: after(-2 * time.Hour), End: after(-time.Minute)}, -time.Hour, "until"},
		"postdated":                          {protocol.Times{Auth: after(0), Start: after(time.Hour), End: after(2 * time.Hour)}, 0, "not valid before"},
		"from the future":                    {protocol.Times{Auth: after(time.Hour), End: after(2 * time.Hour)}, 0, "in the future"},
		"of a clock that is known to be off": {protocol.Times{Auth: after(time.Hour), End: after(2 * time.Hour)}, time.Hour, "until"},
		"a little early":                     {protocol.Times{Auth: after(time.Minute), End: after(time.Hour)}, 0, "until"},
	} {
		u := &User{Caches: []Cache{{Listed: kcm.Listed{Default: true}, TGT: &test.times, Offset: test.offset}}}
		if f := tickets(&Scene{Now: now, Of: u}); !strings.Contains(f.Text, test.want) {
			t.Errorf("%s: %+v, expected %q", name, f, test.want)
		}
	}
	if f := tickets(&Scene{Of: &User{Name: "ann"}}); f.State != Problem {
		t.Errorf("no cache: %+v", f)
	}
}

func TestWhatATerminalWouldObeyIsShown(t *testing.T) {
	t.Parallel()
	text := Text([]Finding{problem("\x1b[2J").with(run("ann\a", "kdestroy -c %s", quote("KCM:it's\x1b[0m")))})
	if strings.ContainsAny(text, "\x1b\a") || !strings.Contains(text, `'KCM:it'\''s`) {
		t.Errorf("%q", text)
	}
}
