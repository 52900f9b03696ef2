package tests

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"gosssd/kcm/protocol"
)

// alice is whom the clients of the identity socket of these tests count as.
// pod is a uid of the host that has nothing to do with her, as a runtime of
// containers maps it.
const (
	alice user = 20001
	bob   user = 20002
	pod   user = 20077
)

// podSocket is where the identity socket is, below the root.
const podSocket = "/srv/web/kcm"

// identityConf declares the identity socket that a pod has mounted into it.
func identityConf(path string) string {
	return fmt.Sprintf("[kcm]\ndebug_level = 6\n[kcm/socket web]\npath = %s\nuser = %d\nmode = 0666\n", path, alice)
}

// inPod defines a shell function that runs a script as a pod does: with user,
// mount and pid namespaces of its own. The first argument are the options of
// unshare(1) that map its uid; there need not be any. Of the host's /srv it has
// what $1 names, and nothing of the host's other sockets.
const inPod = `
pod() {
	directory=$1 maps=$2 script=$3
	unshare --mount sh -euc '
		mkdir -p "$TOP/mnt"
		mount --bind "$1" "$TOP/mnt"
		mount -t tmpfs -o mode=755 none /srv
		mkdir /srv/kcm
		mount --bind "$TOP/mnt" /srv/kcm
		umount "$TOP/mnt"
		exec setpriv --reuid 20077 --regid 20077 --clear-groups \
			env KRB5_CONFIG="$CONTAINER" unshare --user $2 --mount --pid --fork sh -euc "$3"' sh "$directory" "$maps" "$script"
}
`

// mappings are how the pod's uid may be mapped inside.
var mappings = map[string]string{
	"mapped to another uid": "--map-user=1000",
	"mapped to root":        "--map-root-user",
	"not mapped at all":     "",
}

// startWithPod starts a system with the identity socket, and caches of alice,
// bob and root that a pod has no business with, or all of it.
func startWithPod(t *testing.T) *system {
	t.Helper()
	needRoot(t)
	needRealm(t)
	needProgram(t, "setpriv")
	needNamespaces(t, "--user", "--mount", "--pid", "--fork")
	s := newSystem(t, identityConf(podSocket))
	s.sh(0, `mkdir -m 700 "$ROOT/srv"; mkdir -m 755 "$ROOT/srv/web"`) // nobody on the host comes near it
	conf, err := os.ReadFile(s.path("/krb5.conf"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("/container.conf", strings.Replace(string(conf), s.path("/var/run/.heim_org.h5l.kcm-socket"), "/srv/kcm/kcm", 1), 0o644)
	s.env = append(s.env, "CONTAINER="+s.path("/container.conf"), "TOP="+s.path("/container"))
	s.start()
	s.sh(bob, login+`login bob`)
	s.sh(0, login+`login carol; login -c KCM:secret carol`)
	return s
}

func (s *system) pod(maps, script string) string {
	s.t.Helper()
	return s.sh(0, inPod+`pod "$ROOT/srv/web" '`+maps+`' '`+strings.ReplaceAll(login+script, `'`, `'\''`)+`'`)
}

// TestAPodUsesTheCachesOfItsIdentityOnly has a pod use kinit, klist and kvno
// through an identity socket, however its uid is mapped, and reach for
// everybody else's caches.
func TestAPodUsesTheCachesOfItsIdentityOnly(t *testing.T) {
	t.Parallel()
	s := startWithPod(t)
	for name, maps := range mappings {
		t.Run(name, func(t *testing.T) {
			s.sh(alice, `kdestroy -A`)
			out := s.pod(maps, `id -u; login alice; kvno -q host/server.example.test; klist; klist -l`)
			expect(t, out, "Ticket cache: KCM:20001", "alice@EXAMPLE.TEST", "host/server.example.test@EXAMPLE.TEST")
			refuse(t, out, "bob@", "carol@")
			inside := map[string]string{"--map-user=1000": "1000\n", "--map-root-user": "0\n", "": "65534\n"}[maps]
			if !strings.HasPrefix(out, inside) {
				t.Fatalf("the uid inside is not %q: %s", inside, out)
			}
			expect(t, s.sh(alice, `klist`), "host/server.example.test") // they are hers
			// Nobody else's by name, be it there or not, whatever is done with it.
			for _, cache := range []string{"KCM:20002", "KCM:20002:x", "KCM:0", "KCM:0:1", "KCM:secret", "KCM:20077"} {
				s.pod(maps, `! klist -c `+cache+` 2>/dev/null
					! login -c `+cache+` alice 2>/dev/null
					! kvno -q -c `+cache+` host/server.example.test 2>/dev/null
					! kswitch -c `+cache+` 2>/dev/null
					kdestroy -q -c `+cache+` 2>/dev/null || :`)
			}
			refuse(t, s.pod(maps, `klist -A`), "bob@", "carol@")
			s.pod(maps, `kdestroy -A; ! klist -s`)
			s.sh(alice, `! klist -s`)
			expect(t, s.sh(bob, `klist`), "bob@EXAMPLE.TEST")
			expect(t, s.sh(0, `klist; klist -c KCM:secret`), "carol@EXAMPLE.TEST")
		})
	}
	s.sh(pod, `! klist -s`) // on the host the pod's uid is nobody special
	expect(t, s.log("sssd_kcm"), "request refused: socket=web op=REPLACE uid=20001")
}

// asUser runs do with the effective uid of a user, which the kernel tells the
// other end of a connection that is made meanwhile.
func asUser(t *testing.T, u user, do func()) {
	t.Helper()
	set := func(euid user) {
		// Of this thread alone, unlike syscall.Setresuid.
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), uintptr(euid), ^uintptr(0)); errno != 0 {
			t.Fatal(errno)
		}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	set(u)
	defer set(0)
	do()
}

// TestRootIsTheIdentityBehindItsSocket speaks the protocol itself, as root of
// the host.
func TestRootIsTheIdentityBehindItsSocket(t *testing.T) {
	t.Parallel()
	s := startWithPod(t)
	var uuids [][]byte
	asUser(t, bob, func() {
		list, err := s.kcm().Call(protocol.OpGetCacheUUIDList)
		if err != nil || len(list) < 16 {
			t.Fatalf("bob's caches: %x, %v", list, err)
		}
		uuids = append(uuids, list[:16])
	})
	list, err := s.kcm().Call(protocol.OpGetCacheUUIDList)
	if err != nil || len(list) < 16 {
		t.Fatalf("root's caches: %x, %v", list, err)
	}
	uuids = append(uuids, list[:16])
	c := s.kcmAt(podSocket)
	if name, err := c.Default(); err != nil || name != "20001" {
		t.Errorf("the default cache is %q, %v; want 20001", name, err)
	}
	for _, uuid := range uuids {
		if name, err := c.Call(protocol.OpGetCacheByUUID, uuid); err == nil {
			t.Errorf("the UUID %x of another user's cache gets its name, %s", uuid, name)
		}
	}
	if err := c.Initialize("20001:mine", principal("alice")); err != nil {
		t.Errorf("an own cache: %v", err)
	}
	for _, name := range []string{"20002", "20002:new", "0", "secret", "20077"} {
		if err := c.Initialize(name, principal("mallory")); err == nil {
			t.Errorf("the cache %s can be taken", name)
		}
		if _, err := c.Credentials(name); err == nil {
			t.Errorf("the cache %s can be read", name)
		}
	}
	give := protocol.AppendName(nil, "20001:mine")
	if _, err := c.Call(protocol.OpChown, give, []byte{0, 0, 0x4e, 0x22, 0, 0, 0x4e, 0x22}); err == nil {
		t.Error("a cache can be given away, as root may")
	}
}

// TestAPodNoticesNoRestart has a pod's clients go on over restarts of sssd, by
// itself and of a kcm with other options, and over the end of kcm.
func TestAPodNoticesNoRestart(t *testing.T) {
	t.Parallel()
	s := startWithPod(t)
	s.pod("--map-user=1000", `login alice`)
	done := make(chan string)
	s.write("/srv/web/go", "", 0o644)
	go func() {
		out, err := s.try(0, inPod+`pod "$ROOT/srv/web" --map-user=1000 'n=0; while [ -e /srv/kcm/go ]; do klist >/dev/null; n=$((n+1)); done; echo times: $n'`)
		done <- fmt.Sprint(out, err)
	}()
	for i := range 3 {
		s.configure(identityConf(podSocket) + fmt.Sprintf("[secrets]\nfd_limit = %d\n", 1000+i))
		s.sh(0, `"$BIN"/sssctl --root "$ROOT" restart`)
		pid := s.pid("sssd_kcm")
		s.configure(identityConf(podSocket) + fmt.Sprintf("[kcm]\nfd_limit = %d\n", 1000+i))
		s.sh(0, `"$BIN"/sssctl --root "$ROOT" restart`)
		s.pod("--map-user=1000", `klist -s`)
		if s.pid("sssd_kcm") == pid {
			t.Error("kcm was not replaced; the test proves nothing")
		}
	}
	if err := os.Remove(s.path("/srv/web/go")); err != nil {
		t.Fatal(err)
	}
	if out := <-done; !strings.HasPrefix(out, "times: ") || !strings.HasSuffix(out, "<nil>") {
		t.Errorf("the pod's clients: %s", out)
	}
	s.killHard("sssd_kcm")
	s.pod("--map-user=1000", `klist -s`)
	// A socket that is deleted is there again, and still alice's.
	if err := os.Remove(s.path(podSocket)); err != nil {
		t.Fatal(err)
	}
	soon(t, func() bool { _, err := os.Stat(s.path(podSocket)); return err == nil }, func() string { return "the socket does not come back" })
	s.pod("", `klist -s`)
	if got, want := s.ownerOf(podSocket), owned("20001 666", "0 666"); got != want {
		t.Errorf("owner and mode are %s, want %s", got, want)
	}
	// Another user, another owner, without a new socket.
	s.configure(strings.Replace(identityConf(podSocket), "user = 20001\nmode = 0666", "user = 20002\nmode = 0600", 1))
	s.sh(0, `"$BIN"/sssctl --root "$ROOT" restart`)
	if got, want := s.ownerOf(podSocket), owned("20002 600", "0 660"); got != want {
		t.Errorf("owner and mode are %s, want %s", got, want)
	}
	if name, err := s.kcmAt(podSocket).Default(); err != nil || name != "20002" {
		t.Errorf("the default cache is %q, %v; want 20002", name, err)
	}
	s.configure("[kcm]\n")
	s.sh(0, `"$BIN"/sssctl --root "$ROOT" restart`)
	if _, err := os.Lstat(s.path(podSocket)); err == nil {
		t.Error("a socket that is not configured any more is still there")
	}
}

// ownerOf is the owner and the mode of a file.
func (s *system) ownerOf(path string) string {
	s.t.Helper()
	return strings.TrimSpace(s.sh(0, `stat -c '%u %a' "$ROOT`+path+`"`))
}

// owned is what ownerOf says: an sssd that is confined as its unit does gives
// nothing away, and has an access control list instead, whose mask takes the
// group's place.
func owned(given, listed string) string {
	if os.Getenv("CONFINED") != "" {
		return listed
	}
	return given
}

// TestIdentitySocketsAreChecked looks at what is said of sections that are
// wrong, with their lines, and that those of the machine's making stop nothing.
func TestIdentitySocketsAreChecked(t *testing.T) {
	t.Parallel()
	me := user(os.Getuid())
	for name, c := range map[string]struct {
		conf string
		says string
		runs bool // sssd starts all the same
	}{
		"root":                {"[kcm/socket a]\npath = /srv/web/a\nuser = root\n", "sssd.conf:3: [kcm/socket a] user: is root", false},
		"root by number":      {"[kcm/socket a]\npath = /srv/web/a\nuser = 0\n", "sssd.conf:3: [kcm/socket a] user: is root", false},
		"root by long number": {"[kcm/socket a]\npath = /srv/web/a\nuser = 00\n", "sssd.conf:3: [kcm/socket a] user: is root", false},
		"nobody at all":       {"[kcm/socket a]\npath = /srv/web/a\nuser = 4294967295\n", "sssd.conf:3: [kcm/socket a] user: is (uid_t) -1", false},
		"no user":             {"[kcm/socket a]\npath = /srv/web/a\n", "[kcm/socket a] user: is not set", false},
		"no path":             {"[kcm/socket a]\nuser = 20001\n", "[kcm/socket a] path: is not set", false},
		"a relative path":     {"[kcm/socket a]\npath = web/a\nuser = 20001\n", "sssd.conf:2: [kcm/socket a] path: 'web/a' is not an absolute path", false},
		"a strange path":      {"[kcm/socket a]\npath = /srv/web/$a\nuser = 20001\n", "sssd.conf:2: [kcm/socket a] path: may have letters", false},
		"a decimal mode":      {"[kcm/socket a]\npath = /srv/web/a\nuser = 20001\nmode = 0698\n", "sssd.conf:4: [kcm/socket a] mode: '0698' is not an octal mode", false},
		"a mode for nobody":   {"[kcm/socket a]\npath = /srv/web/a\nuser = 20001\nmode = 0066\n", "sssd.conf:4: [kcm/socket a] mode: 0066 lets the user itself not connect", false},
		"a strange name":      {"[kcm/socket a.b]\npath = /srv/web/a\nuser = 20001\n", "[kcm/socket a.b] path: the name of the section", false},
		"the main socket":     {"[kcm/socket a]\npath = /var/run/.heim_org.h5l.kcm-socket\nuser = 20001\n", "sssd.conf:2: [kcm/socket a] path: is the socket of [kcm] already", false},
		"another's socket":    {"[kcm/socket a]\npath = /srv/web/a\nuser = 20001\n[kcm/socket b]\npath = /srv/web/../web/a\nuser = 20002\n", "sssd.conf:5: [kcm/socket b] path: is the socket of [kcm/socket a] already", false},
		"a slash":             {"[kcm/socket/a]\npath = /srv/web/a\nuser = 20001\n", "did you mean [kcm/socket a]?", false},
		"a typing error":      {"[kcm/socket a]\npaht = /srv/web/a\nuser = 20001\n", "did you mean 'path'?", false},
		"no such user":        {"[kcm/socket a]\npath = /srv/web/a\nuser = no-such-user\n", "sssd.conf:3: [kcm/socket a] user: there is no user", true},
		"no such directory":   {"[kcm/socket a]\npath = /srv/missing/a\nuser = 20001\n", "sssd.conf:2: [kcm/socket a] path: the directory", true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSystem(t, c.conf)
			if err := os.MkdirAll(s.path("/srv/web"), 0o755); err != nil {
				t.Fatal(err)
			}
			expectFold(t, s.shFails(me, `"$BIN"/sssctl --root "$ROOT" config-check 2>&1`), c.says)
			if c.runs {
				s.start()
				if _, err := s.kcm().Default(); err != nil {
					t.Errorf("clients of the main socket: %v", err)
				}
				if _, err := os.Stat(s.path("/srv/missing")); err == nil {
					t.Error("a directory is made that lets everybody in")
				}
				return
			}
			expectFold(t, s.shFails(me, `"$BIN"/sssd --root "$ROOT" --genconf 2>&1`), c.says)
		})
	}
}

// expectFold is expect without regard to case.
func expectFold(t *testing.T, out, want string) {
	t.Helper()
	expect(t, strings.ToLower(out), strings.ToLower(want))
}
