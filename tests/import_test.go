package tests

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gosssd/kcm/ldb/ldbtest"
)

// What klist shows of every cache with SSSD's own sssd_kcm, it shows after the
// import as well, and the tickets are good for more.
func TestImportFromSSSD(t *testing.T) {
	t.Parallel()
	peer := peers[0]
	peer.need(t)
	needRealm(t)
	s := newSystem(t, kept("secdb"))
	socket, stop := peer.start(t, nil)
	s.krb5Conf("default_ccache_name = KCM:", "kcm_socket = "+socket)
	users := everybody()
	for i, u := range users {
		s.sh(u, fmt.Sprintf(`
			echo secret | kinit u%[1]d
			echo secret | kinit u%[2]d
			kvno host/server.example.test
			kswitch -p u%[1]d
			echo secret | kinit -c 'KCM:%[3]d:with blank' u%[1]d`, 2*i+1, 2*i+2, u))
	}
	const show = "klist -l; klist -A"
	before := map[user]string{}
	for _, u := range users {
		before[u] = s.sh(u, show)
	}
	stop()
	database, err := os.ReadFile(filepath.Join(filepath.Dir(socket), "sss/secrets/secrets.ldb"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("/var/lib/sss/secrets/secrets.ldb", string(database), 0o600)
	s.krb5Conf("default_ccache_name = KCM:", "kcm_socket = "+s.path("/var/run/.heim_org.h5l.kcm-socket"))
	s.start()
	if got, want := s.imported(), fmt.Sprintf("From SSSD's sssd_kcm: users %d, caches imported %d, present already 0\n", len(users), 3*len(users)); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for i, u := range users {
		if got := sorted(s.sh(u, show)); got != sorted(before[u]) {
			t.Errorf("uid %d: with SSSD\n%s\nafter the import\n%s", u, before[u], s.sh(u, show))
		}
		s.sh(u, "kvno host/other.example.test")
		expect(t, s.sh(u, "klist"), fmt.Sprintf("u%d@EXAMPLE.TEST", 2*i+1))
	}
	expect(t, s.imported(), "has been imported before")
	if after, err := os.ReadFile(s.path("/var/lib/sss/secrets/secrets.ldb")); err != nil || string(after) != string(database) {
		t.Errorf("the database of SSSD was written to (%v)", err)
	}
}

// sorted is a text with its lines in order: SSSD lists caches as they happen to
// lie in its database.
func sorted(text string) string {
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// imported runs sssctl import, which must succeed, and returns what it says.
func (s *system) imported() string {
	s.t.Helper()
	out := s.ctl(user(os.Getuid()), "", "import")
	if out.code != 0 {
		s.t.Fatalf("sssctl import: %+v", out)
	}
	return out.stdout
}

func TestImportOfAThousandUsers(t *testing.T) {
	t.Parallel()
	const users = 1000
	b := ldbtest.New()
	for uid := range uint32(users) {
		b.Cache(30000+uid, int(2*uid), fmt.Sprint(30000+uid), 1, "a", "b", "c")
		b.Cache(30000+uid, int(2*uid+1), fmt.Sprintf("%d:x", 30000+uid), 2, "a", "b", "c")
	}
	for _, storage := range []string{"secrets", "secdb"} {
		t.Run(storage, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, kept(storage))
			s.write("/var/lib/sss/secrets/secrets.ldb", string(b.File), 0o600)
			s.start()
			began := time.Now()
			if got := s.imported(); got != "From SSSD's sssd_kcm: users 1000, caches imported 2000, present already 0\n" {
				t.Error(got)
			}
			t.Logf("%d users' caches imported in %v", users, time.Since(began))
			s.restart()
			expect(t, s.imported(), "has been imported before")
		})
	}
}

func TestImportOfADatabaseThatIsDamaged(t *testing.T) {
	t.Parallel()
	b := ldbtest.New()
	b.Cache(30000, 1, "30000", 1, "a")
	b.Entry(ldbtest.CacheDN(30001, 2, "30001"), "creationTime", "1", "secret", "\x00\x00")
	flipped, record := []byte(string(b.File)), bytes.LastIndex(b.File, []byte{0x99, 0x19, 0x01, 0x26}) // TDB's magic of a live one
	flipped[record] ^= 1
	for name, test := range map[string]struct {
		file string
		want string
	}{
		"it is not there":        {"", "users 0, caches imported 0"},
		"it is another's":        {"SQLite format 3\x00" + strings.Repeat("x", 1000), "not a TDB database"},
		"a bit of it is flipped": {string(flipped), "begins with 0x26011998, not 0x26011999"},
		"it is truncated":        {string(b.File[:190]), "hash chains do not fit into 190 bytes"},
		"a record of it is torn": {string(b.File), "not imported: cn=00000000-0000-0000-0000-000000000002-30001,cn=ccache,cn=30001,cn=persistent,cn=kcm: value of 2 bytes: it ends too early"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSystem(t, kept("memory"))
			if test.file != "" {
				s.write("/var/lib/sss/secrets/secrets.ldb", test.file, 0o600)
			}
			s.start()
			out := s.ctl(user(os.Getuid()), "", "import")
			expect(t, out.stdout+out.stderr, test.want)
			if file, err := os.ReadFile(s.path("/var/lib/sss/secrets/secrets.ldb")); test.file != "" && (err != nil || string(file) != test.file) {
				t.Errorf("the database is changed: %v", err)
			}
			if failed := out.code != 0; failed != (test.file != "") {
				t.Errorf("%+v", out)
			}
		})
	}
}
