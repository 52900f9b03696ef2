package tests

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gosssd/kcm/protocol"
	"gosssd/secrets/vault"
)

// known are the secrets that a system has been given, which none of its logs may
// show. What is in its vault at the end is looked for as well.
type known struct{ secrets [][]byte }

// secret makes a secret of n random bytes and has the system's logs looked
// through for it when the test is over.
func (s *system) secret(n int) []byte {
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		s.t.Fatal(err)
	}
	s.known.secrets = append(s.known.secrets, b)
	return b
}

// spellings are the ways in which a program may write a secret into a log: as it
// is, quoted, in hex, as numbers, and in base64 wherever in a longer text it is.
func spellings(secret []byte) map[string][]byte {
	quoted := fmt.Sprintf("%q", secret)
	numbers := fmt.Sprintf("%d", secret)
	all := map[string][]byte{
		"raw": secret, "quoted": []byte(quoted[1 : len(quoted)-1]),
		"hex": []byte(hex.EncodeToString(secret)), "HEX": []byte(strings.ToUpper(hex.EncodeToString(secret))),
		"spaced hex": fmt.Appendf(nil, "% x", secret), "numbers": []byte(numbers[1 : len(numbers)-1]),
	}
	for shift := range 3 {
		for name, encoding := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			text := encoding.EncodeToString(append(make([]byte, shift), secret...))
			// The first and last letters depend on what is beside the secret.
			all[fmt.Sprint(name, shift)] = []byte(text[(shift*8+5)/6 : len(text)-1])
		}
	}
	return all
}

// tellsApart says whether bytes are so various that they are in a log only if
// the secret is.
func tellsApart(b []byte) bool {
	var seen [256]bool
	different := 0
	for _, c := range b {
		if !seen[c] {
			seen[c] = true
			different++
		}
	}
	return different >= 7
}

// pieces are the parts of a secret of which none may be in a log: a log line may
// cut a long one.
func pieces(secret []byte) [][]byte {
	const piece = 16
	all := [][]byte{secret}
	if len(secret) > 2*piece {
		middle := len(secret) / 2
		all = [][]byte{secret[middle : middle+piece], secret[len(secret)-piece:]}
	}
	var telling [][]byte
	for _, p := range all {
		if tellsApart(p) {
			telling = append(telling, p)
		}
	}
	return telling
}

// shown says which secret a text shows, and in which spelling.
func shown(text []byte, secrets [][]byte) (said []string) {
	for _, secret := range secrets {
		for _, piece := range pieces(secret) {
			for spelling, needle := range spellings(piece) {
				if bytes.Contains(text, needle) {
					said = append(said, fmt.Sprintf("%s of the secret %x", spelling, secret))
				}
			}
		}
	}
	return said
}

// leaks says which secrets the logs of a system that has ended show, and what it
// wrote to stderr.
func (s *system) leaks() (said []string) {
	s.t.Helper()
	secrets := slices.Concat(s.known.secrets, s.inVault())
	logs, err := filepath.Glob(s.path("/var/log/sssd/*"))
	if err != nil || len(secrets) == 0 {
		return nil
	}
	var looked, bytes int
	look := func(name string, text []byte) {
		looked++
		bytes += len(text)
		for _, what := range shown(text, secrets) {
			said = append(said, name+" shows "+what)
		}
	}
	for _, name := range logs {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // a directory, or of a test that has taken it away
		}
		look(filepath.Base(name), text)
	}
	if s.output != nil && s.output.Len() > 0 {
		look("stderr", s.output.Bytes())
	}
	searched.add(looked, bytes, len(secrets))
	return said
}

// mostKept is how many credentials and values of one vault are looked for: they
// are all treated alike, and a crowd has thousands.
const mostKept = 40

// inVault returns session keys, tickets and values of secrets that are in the
// system's vaults, of which it opens copies. A vault that a test has damaged has
// nothing to tell.
func (s *system) inVault() (secrets [][]byte) {
	from := s.path("/var/lib/sss/secrets")
	if _, err := os.Stat(from); err != nil {
		return nil
	}
	dir, err := os.MkdirTemp("", "gosssd-vault-")
	if err != nil {
		s.t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for _, name := range []string{".secrets.mkey", "secrets.db", "secrets.db.journal", "kcm.db", "kcm.db.journal"} {
		text, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			continue
		}
		if name == ".secrets.mkey" {
			secrets = append(secrets, text)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	for _, file := range []string{"secrets.db", "kcm.db"} {
		if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
			secrets = append(secrets, secretsOf(dir, file)...)
		}
	}
	return secrets
}

func secretsOf(dir, file string) (secrets [][]byte) {
	v, err := vault.Open(dir, vault.Options{File: file, OwnerUID: uint32(os.Geteuid())})
	if err != nil {
		return nil
	}
	defer v.Close()
	ctx := context.Background()
	for _, name := range []string{"kcm", "secrets"} {
		hive := v.Hive(name)
		owners, err := hive.Owners(ctx)
		for _, uid := range owners {
			if err != nil || len(secrets) > mostKept {
				break
			}
			err = hive.Each(ctx, uid, func(_ string, value []byte) error {
				if name == "secrets" {
					secrets = append(secrets, value)
				} else if c, err := protocol.ParseCredential(value[min(1, len(value)):]); err == nil && !c.Server.IsConfig() {
					secrets = append(secrets, c.Key.Key, c.Ticket) // behind the version of the record
				}
				return nil
			})
		}
	}
	return secrets
}

func TestASecretInALogIsFoundInEverySpelling(t *testing.T) {
	t.Parallel()
	s := &system{t: t}
	key, ticket := s.secret(32), s.secret(700)
	for _, secret := range [][]byte{key, ticket} {
		for name, text := range map[string]string{
			"raw": string(secret), "%q": fmt.Sprintf("%q", secret), "%x": fmt.Sprintf("%x", secret), "%X": fmt.Sprintf("%X", secret),
			"% x": fmt.Sprintf("% x", secret), "%d": fmt.Sprintf("%d", secret), "base64": base64.StdEncoding.EncodeToString(secret),
			"base64 within":    base64.StdEncoding.EncodeToString(append([]byte("a"), append(secret, "bc"...)...)),
			"base64 deeper":    base64.URLEncoding.EncodeToString(append([]byte("ab"), append(secret, "c"...)...)),
			"cut in the end":   fmt.Sprintf("%x", secret[:min(len(secret), 400)]),
			"cut in the front": fmt.Sprintf("%x", secret[max(0, len(secret)-100):]),
		} {
			if said := shown([]byte("(2026-01-01 0:00:00): [kcm] [x] (0x0010): "+text+"\n"), [][]byte{secret}); len(said) == 0 {
				t.Errorf("%s of %d bytes is not found", name, len(secret))
			}
		}
	}
	if said := shown([]byte(strings.Repeat("nothing of it 0000 \x00\x00\x00", 100)), [][]byte{key, ticket, make([]byte, 32)}); said != nil {
		t.Errorf("found where they are not: %v", said)
	}
}

// TestTheLogsOfASystemAreLookedThrough plants into a log what is in the vault
// only, and what the test has said is secret.
func TestTheLogsOfASystemAreLookedThrough(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "[kcm]\ndebug_level = 10\n[secrets]\ndebug_level = 10\n").start()
	client := principal("alice")
	var stored protocol.Credential
	if err := s.kcm().Initialize(fmt.Sprint(os.Getuid()), client); err != nil {
		t.Fatal(err)
	}
	told := s.secret(32)
	stored = ticket(client, "host", append([]byte("ticket "), told...))
	stored.Key.Key = (&system{t: t}).secret(32)
	if err := s.kcm().Store(fmt.Sprint(os.Getuid()), stored); err != nil {
		t.Fatal(err)
	}
	s.stop()
	if said := s.leaks(); said != nil {
		t.Fatalf("the logs of the product: %v", said)
	}
	for what, secret := range map[string][]byte{"told": told, "in the vault": stored.Key.Key} {
		planted := s.path("/var/log/sssd/planted.log")
		if err := os.WriteFile(planted, []byte("key="+hex.EncodeToString(secret)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if said := s.leaks(); len(said) == 0 {
			t.Errorf("a secret that is %s is not found in a log", what)
		}
		if err := os.Remove(planted); err != nil {
			t.Fatal(err)
		}
	}
}
