package tests

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"gosssd/sbus"
)

// curl is the beginning of every request by hand.
const curl = `curl -s --unix-socket "$ROOT/var/run/secrets.socket" -H "Content-Type: application/json" -w '%{http_code}\n' `

func TestSssctlKeepsTheSecretsOfWhoeverCallsIt(t *testing.T) {
	t.Parallel()
	s := newSystem(t, defaults).start()
	for _, u := range everybody() {
		run := func(want said, stdin string, args ...string) {
			t.Helper()
			if got := s.ctl(u, stdin, append([]string{"secrets"}, args...)...); got != want {
				t.Errorf("uid %d: sssctl secrets %q: %+v, want %+v", u, args, got, want)
			}
		}
		fails := func(says string, args ...string) {
			t.Helper()
			run(said{stderr: "sssctl: " + says + "\n", code: 1}, "", args...)
		}
		const bytes = "any\x00byte\xff, and a line\n"
		run(said{}, "", "list")
		run(said{}, "", "set", "password", "of user "+fmt.Sprint(u))
		run(said{stdout: "of user " + fmt.Sprint(u)}, "", "get", "password")
		run(said{}, bytes, "set", "a name")
		run(said{stdout: bytes}, "", "get", "a name")
		run(said{}, "", "set", "box/")
		run(said{}, bytes, "set", "box/ü?#%2f")
		run(said{stdout: bytes}, "", "get", "box/ü?#%2f")
		run(said{stdout: "a name\nbox/ü?#%2f\npassword\n"}, "", "list")
		run(said{stdout: "ü?#%2f\n"}, "", "list", "box")

		fails("there is no nothing", "get", "nothing")
		fails("there is no nothing", "delete", "nothing")
		fails("there are no secrets in nothing/", "list", "nothing")
		fails("password exists already; delete it first", "set", "password", "x")
		fails("the container that nothing/x is to be in does not exist", "set", "nothing/x", "x")
		fails("box/ is not empty", "delete", "box/")
		fails("box/ is a container; sssctl secrets list shows what is in it", "get", "box/")
		fails("box/ is a container and has no value", "set", "box/", "x")
		fails("an empty secret cannot be stored", "set", "empty")
		fails(".. is not a name that a secret can have", "get", "..")
		fails("the value of large is too large, see max_payload_size in sssd-secrets(5)", "set", "large", strings.Repeat("x", 16<<10+1))

		run(said{}, "", "delete", "box/ü?#%2f")
		run(said{}, "", "delete", "box/")
		run(said{}, "", "delete", "a name")
		run(said{stdout: "password\n"}, "", "list")
	}
}

func TestSssctlReachesTheSecretsOfOthersForRootOnly(t *testing.T) {
	t.Parallel()
	needRoot(t)
	s := newSystem(t, defaults).start()
	const alice, bob user = 20001, 20002
	if got := s.ctl(alice, "", "secrets", "set", "mine", "alice's"); got != (said{}) {
		t.Errorf("%+v", got)
	}
	refused := said{stderr: "sssctl: only root may do this\n", code: 1}
	for _, command := range []string{"list", "get mine", "set x y", "delete mine"} {
		if got := s.ctl(bob, "", strings.Fields("secrets "+command+" --uid 20001")...); got != refused {
			t.Errorf("%s: %+v", command, got)
		}
	}
	for _, command := range []string{"rekey", "check", "repair 20001", "discard 20001"} {
		got := s.ctl(bob, "", strings.Fields("secrets "+command)...)
		if got.code != 1 || got.stdout != "" || !strings.Contains(got.stderr, "only root may do this") {
			t.Errorf("%s: %+v", command, got)
		}
	}
	for _, c := range []struct{ command, want string }{
		{"list --uid 20001", "mine\n"},
		{"get --uid 20001 mine", "alice's"},
		{"set --uid 20001 x y", ""},
		{"delete --uid 20001 x", ""},
		{"list --uid 20002", ""},
		{"set --uid 20002 b bob", ""},
	} {
		if got := s.ctl(0, "", strings.Fields("secrets "+c.command)...); got != (said{stdout: c.want}) {
			t.Errorf("%s: %+v", c.command, got)
		}
	}
	if got := s.ctl(bob, "", "secrets", "get", "b"); got != (said{stdout: "bob"}) {
		t.Errorf("%+v", got)
	}
}

func TestSssctlGivesSecretsANewMasterKey(t *testing.T) {
	t.Parallel()
	s := newSystem(t, defaults)
	me := user(os.Getuid())
	got := s.ctl(me, "", "secrets", "get", "x")
	if got.code != 1 {
		t.Errorf("%+v", got)
	}
	expect(t, got.stderr, "the secrets service is not there", "/var/run/secrets.socket", "start sssd")

	s.start()
	if got := s.ctl(me, "", "secrets", "set", "x", "value"); got != (said{}) {
		t.Errorf("%+v", got)
	}
	if err := s.kcm().Initialize(fmt.Sprint(me), principal("alice")); err != nil {
		t.Fatal(err)
	}
	key := s.path("/var/lib/sss/secrets/.secrets.mkey")
	before, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.ctl(me, "", "secrets", "rekey"); got != (said{stdout: "All secrets and credential caches in " + s.vault("secrets.db") + " are encrypted under a new master key.\n"}) {
		t.Errorf("%+v", got)
	}
	after, err := os.ReadFile(key)
	if err != nil || string(after) == string(before) {
		t.Errorf("the master key is the old one, %v", err)
	}
	for range 2 {
		if got := s.ctl(me, "", "secrets", "get", "x"); got != (said{stdout: "value"}) {
			t.Errorf("%+v", got)
		}
		if _, err := s.kcm().services(fmt.Sprint(me)); err != nil {
			t.Error(err)
		}
		s.restart()
	}
}

func TestTenClientsUseTheSecretsAtOnce(t *testing.T) {
	t.Parallel()
	needProgram(t, "curl")
	s := newSystem(t, defaults).start()
	for _, u := range everybody() {
		for _, request := range []string{
			`-X PUT -d "{\"type\":\"simple\",\"value\":\"value $i\"}"`, ``, `-X DELETE`,
		} {
			out := s.sh(u, `for i in 0 1 2 3 4 5 6 7 8 9; do
				`+curl+`-o /dev/null `+request+` http://localhost/secrets/secret$i &
			done; wait`)
			if out != strings.Repeat("200\n", 10) {
				t.Errorf("uid %d: %s:\n%s", u, request, out)
			}
		}
		if out := s.sh(u, curl+`-o /dev/null http://localhost/secrets/`); out != "404\n" {
			t.Errorf("uid %d: in the end: %s", u, out)
		}
	}
}

// TestASilentClientOfSecretsIsDisconnected waits for real: 10 seconds are the
// least that client_idle_timeout means.
func TestASilentClientOfSecretsIsDisconnected(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "[secrets]\nclient_idle_timeout = 10\n").start()
	clients := func() uint64 {
		var counters map[string]uint64
		reply := s.bus(sbus.ServiceName("secrets"), sbus.ServicePath, sbus.ServiceInterface, "Counters")
		if err := dbus.Store(reply, &counters); err != nil {
			t.Fatal(err)
		}
		return counters["clients"]
	}
	dial := func() net.Conn {
		conn, err := net.Dial("unix", s.path("/var/run/secrets.socket"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	ask := func(conn net.Conn) {
		t.Helper()
		fmt.Fprint(conn, "GET /secrets/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\r\n")
		b := make([]byte, 4096)
		if n, err := conn.Read(b); err != nil || !strings.HasPrefix(string(b[:n]), "HTTP/1.1 404 ") {
			t.Fatalf("%s%v", b[:n], err)
		}
	}
	mute, once, busy := dial(), dial(), dial()
	ask(once)
	ask(busy)
	s.bus(sbus.MonitorName, sbus.MonitorPath, sbus.MonitorInterface, "ListServices") // waits for who registers
	if n := clients(); n != 3 {
		t.Errorf("the service has %d clients, want 3", n)
	}
	began := time.Now()
	for time.Since(began) < 6*time.Second { // a client that goes on asking is not silent
		time.Sleep(2 * time.Second)
		ask(busy)
	}
	for _, conn := range []net.Conn{mute, once} {
		_ = conn.SetReadDeadline(began.Add(patience))
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil || os.IsTimeout(err) {
			t.Errorf("after %v: %d bytes, %v", time.Since(began), n, err)
		}
	}
	if took := time.Since(began); took < 9*time.Second {
		t.Errorf("clients are disconnected after %v", took)
	} else {
		t.Logf("clients are disconnected after %v", took.Round(time.Second/10))
	}
	ask(busy)
	left := clients()
	for deadline := time.Now().Add(patience); left != 1 && time.Now().Before(deadline); left = clients() {
		time.Sleep(10 * time.Millisecond) // a client learns of its end before it is counted out
	}
	if left != 1 {
		t.Errorf("the service has %d clients, want the busy one", left)
	}
}
