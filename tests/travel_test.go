package tests

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"gosssd/kcm/archive"
)

// ageKeys makes a key pair of age: the recipient, and the file of the identity.
func (s *system) ageKeys() (recipient *age.X25519Recipient, file string) {
	s.t.Helper()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		s.t.Fatal(err)
	}
	s.write("/identity", "# created today\n"+identity.String()+"\n", 0o600)
	return identity.Recipient(), s.path("/identity")
}

// TestCachesTravelToAnotherHost has users log in on one host and find their
// tickets on another.
func TestCachesTravelToAnotherHost(t *testing.T) {
	t.Parallel()
	needRealm(t)
	me := user(os.Getuid())
	here := newSystem(t, kept("secrets")).start()
	there := newSystem(t, kept("secdb")).start()
	recipient, identity := there.ageKeys()
	before := map[user]string{}
	for _, u := range everybody() {
		here.sh(u, `echo secret | kinit alice >/dev/null; kvno host/server.example.test
			echo secret | kinit bob >/dev/null; echo secret | kinit carol >/dev/null; kswitch -p bob`)
		before[u] = here.sh(u, "klist -A -C -f -e; klist")
	}
	file := here.path("/caches.age")
	done := here.ctl(me, "", "ccache", "export", file, "--all", "--recipient", recipient.String())
	if want := fmt.Sprintf("To %s: users %d\n", file, len(everybody())); done != (said{stdout: want}) {
		t.Fatalf("%+v", done)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if out := here.ctl(me, "", "ccache", "export", file, "--all", "--recipient", recipient.String()); out.code != 1 || !strings.Contains(out.stderr, "exists") {
		t.Errorf("over a file that is there: %+v", out)
	}
	bring := func(more ...string) said {
		return there.ctl(me, "", append([]string{"ccache", "import", file, "--identity", identity}, more...)...)
	}
	caches := 3 * len(everybody())
	if got, want := bring(), fmt.Sprintf("From the file: users %d, caches imported %d, present already 0\n", len(everybody()), caches); got != (said{stdout: want}) {
		t.Fatalf("%+v", got)
	}
	for _, u := range everybody() {
		if got := there.sh(u, "klist -A -C -f -e; klist"); got != before[u] {
			t.Errorf("uid %d had\n%s\nand has\n%s", u, before[u], got)
		}
		there.sh(u, `kvno host/third.example.test`)
	}
	there.sh(me, `kdestroy -A -q`)
	expect(t, bring().stdout, "imported before")
	expect(t, there.shFails(me, `klist`), "not found")
	if got, want := bring("--again"), fmt.Sprintf("From the file: users %d, caches imported 3, present already %d\n", len(everybody()), caches-3); got != (said{stdout: want}) {
		t.Errorf("%+v", got)
	}
	there.restart()
	expect(t, bring().stdout, "imported before")
	expect(t, there.sh(me, `klist`), "Default principal: bob@EXAMPLE.TEST")
}

// TestASealedFileOpensForItsKeysOnly also has files that are damaged, foreign or
// not what they say, of which nothing is imported.
func TestASealedFileOpensForItsKeysOnly(t *testing.T) {
	t.Parallel()
	me, uid := user(os.Getuid()), uint32(os.Getuid())
	s := newSystem(t, kept("memory")).start()
	recipient, identity := s.ageKeys()
	c := s.kcm()
	name := fmt.Sprint(uid)
	for _, err := range []error{c.Initialize(name, principal("alice")), c.store(name, principal("alice"), "one")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s.sh(me, `echo "open sesame" >"$ROOT/right"; echo wrong >"$ROOT/wrong"
		"$BIN"/sssctl --root "$ROOT" ccache export --user `+name+` --passphrase-fd 3 "$ROOT/secret.age" 3<"$ROOT/right"
		"$BIN"/sssctl --root "$ROOT" ccache export --user `+name+` --recipient `+recipient.String()+` "$ROOT/keyed.age"`)
	if err := c.Initialize(name, principal("bob")); err != nil { // is newer than what is in the files
		t.Fatal(err)
	}
	expect(t, s.sh(me, `"$BIN"/sssctl --root "$ROOT" ccache import --passphrase-fd 3 "$ROOT/secret.age" 3<"$ROOT/right"`),
		"From the file: users 1, caches imported 0, present already 1")
	expect(t, s.shFails(me, `"$BIN"/sssctl --root "$ROOT" ccache import --passphrase-fd 3 "$ROOT/secret.age" 3<"$ROOT/wrong"`),
		"sealed for other keys, or with another passphrase")
	expect(t, s.shFails(me, `"$BIN"/sssctl --root "$ROOT" ccache import --passphrase-fd 9 "$ROOT/secret.age"`), "passphrase: ")

	whole, err := os.ReadFile(s.path("/keyed.age"))
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(whole)
	flipped[len(flipped)-20] ^= 1
	seal := func(fill func(io.Writer) error) []byte {
		var b bytes.Buffer
		w, err := age.Encrypt(&b, recipient)
		if err == nil {
			err = fill(w)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	of := func(u archive.User, records ...archive.Record) []byte {
		return seal(func(w io.Writer) error {
			a := archive.NewWriter(w, [archive.IDSize]byte{byte(len(u.Name)), byte(len(records))})
			err := a.User(u)
			for _, r := range records {
				if err == nil {
					err = a.Record(r)
				}
			}
			if err != nil {
				return err
			}
			return a.Close()
		})
	}
	for what, bad := range map[string]struct {
		file []byte
		says string
	}{
		"cut":                {whole[:len(whole)-30], "it is damaged"},
		"flipped":            {flipped, "it is damaged"},
		"empty":              {nil, "it is not sealed with age, or it is damaged"},
		"foreign":            {[]byte("PK\x03\x04 something else"), "it is not sealed with age"},
		"another's":          {seal(func(w io.Writer) error { _, err := io.WriteString(w, "hello"); return err }), "it is not an archive of credential caches"},
		"without its end":    {seal(func(w io.Writer) error { _ = archive.NewWriter(w, [archive.IDSize]byte{}); return nil }), "it ends too early"},
		"of another user":    {of(archive.User{UID: 4711, Name: "root"}), "root is uid 0, not 4711"},
		"of useless records": {of(archive.User{UID: uid}, archive.Record{Key: "ccache/x", Value: []byte("y")}), "not imported: uid " + name},
	} {
		path := filepath.Join(s.root, "bad.age")
		if err := os.WriteFile(path, bad.file, 0o600); err != nil {
			t.Fatal(err)
		}
		out := s.ctl(me, "", "ccache", "import", path, "--identity", identity)
		if out.code != 1 || !strings.Contains(out.stderr, bad.says) || strings.Contains(out.stdout, "imported 1") {
			t.Errorf("a file that is %s: %+v", what, out)
		}
	}
	for args, says := range map[string]string{
		"export f --recipient " + recipient.String(): "choose one of --user and --all",
		"export f --all": "choose one of --recipient, --passphrase and --passphrase-fd",
		"export f --all --recipient age1nonsense": "is not a public key of age",
		"import f": "choose one of --identity, --passphrase and --passphrase-fd",
		"import f --identity " + s.path("/right"):    "has no private keys of age",
		"import /nonexistent --identity " + identity: "no such file",
	} {
		if out := s.ctl(me, "", append([]string{"ccache"}, strings.Fields(args)...)...); out.code != 1 || !strings.Contains(out.stderr, says) {
			t.Errorf("ccache %s: %+v", args, out)
		}
	}
}
