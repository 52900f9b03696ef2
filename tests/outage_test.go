package tests

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/iana/patype"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"gosssd/kcm/protocol"
	"gosssd/kdc/kdctest"
)

// lyingKDC is a KDC for tests behind a door that can do to its answers what a
// broken or hostile one would.
type lyingKDC struct {
	*kdctest.KDC
	address string
	lie     atomic.Pointer[lie] // nil: it is honest
	asked   atomic.Int64        // while it lies
	ended   chan struct{}
}

// lie answers a request, and may keep the connection until end is closed.
type lie func(conn net.Conn, request, honest []byte, end <-chan struct{})

func newLyingKDC(t testing.TB, realm string) *lyingKDC {
	t.Helper()
	honest, err := kdctest.New(realm)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &lyingKDC{KDC: honest, address: l.Addr().String(), ended: make(chan struct{})}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				k.serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		close(k.ended)
		l.Close()
		serving.Wait()
	})
	return k
}

func (k *lyingKDC) serve(conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(patience))
	var length [4]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return
	}
	request := make([]byte, binary.BigEndian.Uint32(length[:]))
	if _, err := io.ReadFull(conn, request); err != nil {
		return
	}
	if lies := k.lie.Load(); lies != nil {
		k.asked.Add(1)
		(*lies)(conn, request, k.Answer(request), k.ended)
		return
	}
	_, _ = conn.Write(framed(k.Answer(request)))
}

func framed(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...)
}

// realmsConf is a krb5.conf that names a KDC for each realm.
func realmsConf(kdcs ...*lyingKDC) string {
	text := "[libdefaults]\n  dns_lookup_kdc = false\n  udp_preference_limit = 1\n[realms]\n"
	for _, k := range kdcs {
		text += fmt.Sprintf("  %s = {\n    kdc = %s\n  }\n", k.Realm, k.address)
	}
	return text
}

// overdue stores a ticket that is to be renewed at once, and returns its end.
func (s *system) overdue(c *kcmClient, cache string, k *kdctest.KDC, who string) uint32 {
	s.t.Helper()
	now := uint32(time.Now().Unix())
	tgt, err := k.TGT(who, 18, protocol.Times{Auth: now - 36000, Start: now - 36000, End: now + 3600, RenewTill: now + 7*86400})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := c.Initialize(cache, tgt.Client); err != nil {
		s.t.Fatal(err)
	}
	if err := c.Store(cache, tgt); err != nil {
		s.t.Fatal(err)
	}
	return tgt.Times.End
}

// endOf is when the first ticket of a cache ends.
func (s *system) endOf(c *kcmClient, cache string) uint32 {
	s.t.Helper()
	creds, err := c.Credentials(cache)
	if err != nil || len(creds) == 0 {
		s.t.Fatalf("%s: %d credentials, %v", cache, len(creds), err)
	}
	return creds[0].Times.End
}

// TestALyingKDCCostsItsOwnRenewalsOnly has the KDC of one realm answer what it
// should not, while that of another is honest.
func TestALyingKDCCostsItsOwnRenewalsOnly(t *testing.T) {
	t.Parallel()
	uid := fmt.Sprint(os.Getuid())
	for name, lies := range map[string]lie{
		"rubbish":   func(conn net.Conn, _, _ []byte, _ <-chan struct{}) { _, _ = conn.Write(framed([]byte("rubbish"))) },
		"no answer": func(net.Conn, []byte, []byte, <-chan struct{}) {},
		"2 GiB": func(conn net.Conn, _, honest []byte, _ <-chan struct{}) {
			_, _ = conn.Write(append(binary.BigEndian.AppendUint32(nil, 1<<31-1), honest...))
		},
		"half a reply": func(conn net.Conn, _, honest []byte, _ <-chan struct{}) {
			whole := framed(honest)
			_, _ = conn.Write(whole[:len(whole)/2])
		},
		"nothing for a long time": func(_ net.Conn, _, _ []byte, end <-chan struct{}) { <-end },
		"a byte now and then": func(conn net.Conn, _, honest []byte, end <-chan struct{}) {
			for _, b := range framed(honest) {
				select {
				case <-end:
					return
				case <-time.After(100 * time.Millisecond):
				}
				if _, err := conn.Write([]byte{b}); err != nil {
					return
				}
			}
		},
		"the request": func(conn net.Conn, request, _ []byte, _ <-chan struct{}) { _, _ = conn.Write(framed(request)) },
		"a megabyte": func(conn net.Conn, _, honest []byte, _ <-chan struct{}) {
			_, _ = conn.Write(framed(append(honest, make([]byte, 1<<20)...)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, kept("memory", "tgt_renewal = true", "krb5_renew_interval = 1s", "krb5_auth_timeout = 1s", "debug_level = 6"))
			lying, honest := newLyingKDC(t, "LYING.TEST"), newLyingKDC(t, "HONEST.TEST")
			s.write("/etc/krb5.conf", realmsConf(lying, honest), 0o644)
			s.start()
			c := s.kcm()
			lying.lie.Store(&lies)
			bad, good := uid+":bad"+name, uid+":good"+name
			badEnd := s.overdue(c, bad, lying.KDC, "alice")
			await(func() bool { return lying.asked.Load() > 0 })
			goodEnd := s.overdue(c, good, honest.KDC, "bob")
			await(func() bool { return s.endOf(c, good) > goodEnd })
			await(func() bool { return lying.asked.Load() > 2 })
			if s.endOf(c, good) == goodEnd || s.endOf(c, bad) != badEnd || lying.asked.Load() < 3 {
				t.Errorf("honest: %d, was %d; lying: %d, was %d; asked %d times", s.endOf(c, good), goodEnd, s.endOf(c, bad), badEnd, lying.asked.Load())
			}
			if size := residentMiB(t, s.pid("sssd_kcm")); size > 200 {
				t.Errorf("sssd_kcm has %.0f MiB", size)
			}
			lying.lie.Store(nil)
			await(func() bool { return s.endOf(c, bad) > badEnd })
			if s.endOf(c, bad) == badEnd {
				t.Error("it is not renewed once the KDC is honest")
			}
		})
	}
}

// TestMITsKDCIsStoppedForThreeIntervals while the tickets of three users come due.
func TestMITsKDCIsStoppedForThreeIntervals(t *testing.T) {
	t.Parallel()
	needRealm(t)
	const interval, life = 2 * time.Second, 30 * time.Second
	dir := t.TempDir()
	k, err := startKDC(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.stop() })
	s := newRenewalOf(t, dir, kept("secdb", "tgt_renewal = true", "krb5_renew_interval = 2s", "krb5_auth_timeout = 1s", "debug_level = 6"))
	before := map[user]string{}
	for i, u := range everybody() {
		s.sh(u, fmt.Sprintf(`
			echo secret | kinit -l %.0fs -r 1h u%d
			kvno host/server.example.test`, life.Seconds(), i+1))
		before[u] = s.sh(u, "klist -C -e")
	}
	k.stop()
	unanswered := regexp.MustCompile(`, (\d+) unanswered, `)
	count := func() (n int) {
		status := s.ctl(user(os.Getuid()), "", "status").stdout
		if found := unanswered.FindStringSubmatch(status); found != nil {
			n, _ = strconv.Atoi(found[1])
		}
		return n
	}
	await(func() bool { return count() > 0 })
	began, first := time.Now(), count()
	time.Sleep(3 * interval) // it is the outage that is shown
	asked, lasted := count()-first, time.Since(began)
	if most := int(lasted/(interval*9/10)) + 1 + len(before); first == 0 || asked > most {
		t.Errorf("%d requests, then %d in %v, expected at most %d", first, asked, lasted, most)
	}
	if k, err = startKDCAt(k.port, dir); err != nil {
		t.Fatal(err)
	}
	await(func() bool { return strings.Count(s.log("sssd_kcm"), "a ticket is renewed") >= len(before) })
	for u, old := range before {
		onlyTimesChanged(t, fmt.Sprintf("uid %d", u), old, s.sh(u, "klist -C -e"))
	}
	t.Logf("%d requests without a KDC, %d of them in the last %v", first+asked, asked, lasted)
}

// TestAKDCThatWasAwayFindsAllRenewed stops the KDC for three intervals.
func TestAKDCThatWasAwayFindsAllRenewed(t *testing.T) {
	t.Parallel()
	const interval, users = 2 * time.Second, 30
	s := newSystem(t, kept("memory", "max_uid_ccaches = 0", "tgt_renewal = true", "krb5_renew_interval = 2s", "krb5_auth_timeout = 1s", "debug_level = 6"))
	k := newLyingKDC(t, "EXAMPLE.TEST")
	away := lie(func(net.Conn, []byte, []byte, <-chan struct{}) {}) // as of a host whose KDC has ended: the connection breaks off
	k.lie.Store(&away)
	s.write("/etc/krb5.conf", realmsConf(k), 0o644)
	s.start()
	c := s.kcm()
	ends := map[string]uint32{}
	for i := range users {
		cache := fmt.Sprintf("%d:%d", os.Getuid(), i)
		ends[cache] = s.overdue(c, cache, k.KDC, fmt.Sprintf("u%d", i))
	}
	await(func() bool { return k.asked.Load() > 0 })
	began, before := time.Now(), k.asked.Load()
	time.Sleep(3 * interval)
	asked, lasted := k.asked.Load()-before, time.Since(began)
	status := s.ctl(user(os.Getuid()), "", "status")
	expect(t, status.stdout, "no KDC of EXAMPLE.TEST has answered")
	// One request for all in each pause, and those that were under way when the
	// outage began, of which a user has four.
	if most := int64(lasted/(interval*9/10)) + 1 + 4; asked > most {
		t.Errorf("%d requests in %v, expected at most %d", asked, lasted, most)
	}
	k.lie.Store(nil)
	for cache, end := range ends {
		await(func() bool { return s.endOf(c, cache) > end })
		if s.endOf(c, cache) == end {
			t.Errorf("%s is not renewed", cache)
		}
	}
	t.Logf("%d requests for %d tickets in %v without a KDC", asked, users, lasted)
}

// TestARealmThatRefusesOursIsAskedByKinit: where a KDC answers KDC_ERR_POLICY,
// as Active Directory does to requests without FAST armor, kinit -R is run. MIT's
// KDC cannot be made to demand armor of a renewal, so this is a stub that does.
func TestARealmThatRefusesOursIsAskedByKinit(t *testing.T) {
	t.Parallel()
	needProgram(t, "kinit")
	s := newSystem(t, kept("memory", "tgt_renewal = true", "krb5_renew_interval = 1h", "krb5_auth_timeout = 20s", "debug_level = 6"))
	k := newLyingKDC(t, "FAST.TEST")
	var armored atomic.Int64
	policy := lie(func(conn net.Conn, request, honest []byte, _ <-chan struct{}) {
		if hasFAST(request) {
			armored.Add(1)
			_, _ = conn.Write(framed(honest))
			return
		}
		if refusal, err := k.Refusal(errorcode.KDC_ERR_POLICY, "unarmored"); err == nil {
			_, _ = conn.Write(framed(refusal))
		}
	})
	k.lie.Store(&policy)
	s.write("/etc/krb5.conf", "[libdefaults]\n  default_realm = FAST.TEST\n"+realmsConf(k), 0o644)
	s.start()
	c := s.kcm()
	cache := fmt.Sprint(os.Getuid())
	end := s.overdue(c, cache, k.KDC, "alice")
	await(func() bool { return s.endOf(c, cache) > end })
	if s.endOf(c, cache) == end || armored.Load() != 1 {
		t.Errorf("renewed %t, by %d requests with FAST", s.endOf(c, cache) > end, armored.Load())
	}
	if left, err := os.ReadDir(s.path("/run")); err != nil || strings.Contains(fmt.Sprint(left), "renew") {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// hasFAST reports whether a request is armored (RFC 6113).
func hasFAST(request []byte) bool {
	var asked messages.TGSReq
	if asked.Unmarshal(request) != nil {
		return false
	}
	return slices.ContainsFunc(asked.PAData, func(pa types.PAData) bool { return pa.PADataType == patype.PA_FX_FAST })
}
