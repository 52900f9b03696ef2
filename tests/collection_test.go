package tests

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gosssd/kcm/protocol"
)

// What the tests of MIT's, SSSD's and Heimdal's own trees ask of a collection,
// with real clients, for each storage. Each scenario begins and ends without
// caches.
//
// One of MIT's is turned around: there a destroyed primary cache leaves no
// default; here the oldest cache that is left becomes it, as with SSSD and
// Heimdal. Heimdal's client 7 does not know its successor's other names for
// the default cache, "KCM:UID" and "KCM:UID:", which are that client's matter.
func TestCollectionsAreWhatMITAndSSSDAndHeimdalTestTheirsToBe(t *testing.T) {
	t.Parallel()
	needRealm(t)
	scenarios := map[string]func(*testing.T, *system, user){
		"MIT: nothing is there at first, and a kinit changes that":     firstLogin,
		"MIT: a service ticket is stored once":                         oneTicketPerService,
		"MIT: four caches, the primary is listed first":                fourCaches,
		"MIT: kdestroy takes the primary, or the principal's, or all":  destroyOneByOne,
		"SSSD: a second kinit of a principal makes no second cache":    secondLogin,
		"SSSD: three principals come and go":                           threePrincipals,
		"SSSD: kswitch decides where service tickets land":             switchBetween,
		"SSSD: each cache of the collection is of use by its own name": subsidiaries,
		"SSSD: kdestroy without a cache is no error":                   destroyNothing,
		"SSSD: a wrong password leaves the tickets alone":              wrongPassword,
		"Heimdal: two principals, in both orders":                      bothOrders,
		"Heimdal and MIT see one collection with one default":          sharedCollection,
	}
	for _, storage := range storages {
		t.Run(storage, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, kept(storage)).start()
			for name, scenario := range scenarios {
				t.Run(name, func(t *testing.T) {
					on := *s
					on.t = t // which failures belong to
					scenario(t, &on, somebody())
					on.sh(somebody(), `kdestroy -A; ! klist -A -s`)
				})
			}
		})
	}
}

// login is a kinit of a principal of the realm, for scripts.
const login = `
login() { echo secret | kinit "$@" >/dev/null; }
primary() { klist | sed -n 's/^Default principal: \(.*\)@.*/\1/p'; }
caches() { klist -l 2>/dev/null | grep -c @ || :; }
`

// is fails the test if a script's output is not what is wanted.
func is(t *testing.T, s *system, u user, script, want string) {
	t.Helper()
	if got := strings.TrimSpace(s.sh(u, login+script)); got != want {
		t.Errorf("%s\nprints %q, expected %q", script, got, want)
	}
}

func firstLogin(t *testing.T, s *system, u user) {
	s.sh(u, `! klist -s; ! klist -A -s; ! klist -l`)
	is(t, s, u, `login alice; klist -s; klist -A -s; primary; caches`, "alice\n1")
	is(t, s, u, `kdestroy; ! klist -s; caches`, "0")
}

func oneTicketPerService(t *testing.T, s *system, u user) {
	is(t, s, u, `login alice; kvno -q host/server.example.test; kvno -q host/server.example.test; klist | grep -c host/`, "1")
}

func fourCaches(t *testing.T, s *system, u user) {
	is(t, s, u, `login alice; login carol; login alice; primary; caches`, "alice\n2")
	is(t, s, u, `login bob; login host/server.example.test; caches; primary`, "4\nhost/server.example.test")
	is(t, s, u, `kswitch -p carol; klist -A | sed -n 's/^Default principal: \(.*\)@.*/\1/p'`,
		"carol\nalice\nbob\nhost/server.example.test")
	is(t, s, u, `kswitch -c "$(klist -l | sed -n 's/^alice@[^ ]* *\(KCM:.*\)/\1/p')"; primary`, "alice")
}

func destroyOneByOne(t *testing.T, s *system, u user) {
	is(t, s, u, `login alice; login bob; login carol; kdestroy -c KCM: 2>/dev/null; caches; primary`, "2\nalice")
	is(t, s, u, `kdestroy -p bob; caches; primary`, "1\nalice")
	is(t, s, u, `login carol; kdestroy -A; caches; ! klist -A -s`, "0")
}

func secondLogin(t *testing.T, s *system, u user) {
	is(t, s, u, `caches; login alice; caches; login alice; caches; klist | grep -c krbtgt`, "0\n1\n1\n1")
}

func threePrincipals(t *testing.T, s *system, u user) {
	is(t, s, u, `for who in alice bob carol; do login $who; caches; primary; done`, "1\nalice\n2\nbob\n3\ncarol")
	is(t, s, u, `kvno -q host/server.example.test; klist -A | grep -c host/; klist | grep -c host/`, "1\n1")
	is(t, s, u, `kdestroy 2>/dev/null; caches; login carol; caches; primary; klist -A | grep -c host/ || :`, "2\n3\ncarol\n0")
}

func switchBetween(t *testing.T, s *system, u user) {
	is(t, s, u, `login alice; login bob; kswitch -p alice; primary; kvno -q host/server.example.test; klist | grep -c host/
		kswitch -p bob; primary; klist | grep -c host/ || :; kvno -q host/other.example.test; klist | grep -c host/other
		kswitch -p alice; klist | grep -c host/other || :`, "alice\n1\nbob\n0\n1\n0")
}

// subsidiaries also sees to the order: the ticket-granting ticket comes first.
func subsidiaries(t *testing.T, s *system, u user) {
	is(t, s, u, `login alice; kvno -q host/server.example.test; login bob; kvno -q host/other.example.test
		for name in $(klist -l | sed -n 's/.*@[^ ]* *\(KCM:.*\)/\1/p'); do
			KRB5CCNAME=$name klist | sed -n 's/^Default principal: //p; s/.*  \(krbtgt.*\|host.*\)@.*/\1/p'
		done`, "bob@EXAMPLE.TEST\nkrbtgt/EXAMPLE.TEST\nhost/other.example.test\nalice@EXAMPLE.TEST\nkrbtgt/EXAMPLE.TEST\nhost/server.example.test")
	is(t, s, u, `klist -A | grep -c "^Ticket cache"`, "2")
}

func destroyNothing(_ *testing.T, s *system, u user) {
	s.sh(u, `kdestroy; kdestroy -A`)
}

func wrongPassword(t *testing.T, s *system, u user) {
	is(t, s, u, `login alice; ! echo wrong | kinit alice >/dev/null 2>&1; klist -s; primary; klist | grep -c krbtgt`, "alice\n1")
}

const heimdalPrincipal = `h_klist | sed -n 's/^ *Principal: \(.*\)@.*/\1/p'
`

func bothOrders(t *testing.T, s *system, u user) {
	for _, order := range []string{"alice bob", "bob alice"} {
		_, last, _ := strings.Cut(order, " ")
		is(t, s, u, heimdal(t, `for who in `+order+`; do h_kinit $who; done; `+heimdalPrincipal+`h_klist -l | grep -c @`), last+"\n2")
		is(t, s, u, heimdal(t, `KRB5CCNAME=KCM: `+heimdalPrincipal+`h_kdestroy -A; ! h_klist -s 2>/dev/null; caches`), last+"\n0")
	}
}

func sharedCollection(t *testing.T, s *system, u user) {
	is(t, s, u, heimdal(t, `login alice; h_kinit bob; primary; h_kswitch -p alice@EXAMPLE.TEST; primary; kswitch -p bob; `+heimdalPrincipal), "bob\nalice\nbob")
	is(t, s, u, heimdal(t, `h_kdestroy; primary; `+heimdalPrincipal+`caches`), "alice\nalice\n1")
}

func TestALimitOnCachesRefusesOneMoreAndLeavesNothingOfIt(t *testing.T) {
	t.Parallel()
	needRealm(t)
	for _, storage := range storages {
		s := newSystem(t, kept(storage, "max_uid_ccaches = 1")).start()
		is(t, s, somebody(), `login alice; ! login bob 2>/dev/null; caches; primary; kvno -q host/server.example.test; login alice; caches`, "1\nalice\n1")
		if others := everybody(); len(others) > 1 {
			is(t, s, others[len(others)-1], `login bob; caches`, "1") // a user of their own
		}
		is(t, s, somebody(), `kdestroy -A; login bob; primary`, "bob")
		s.stop()
	}
}

func TestTheLimitOnCachesIs64AndCanBeChanged(t *testing.T) {
	t.Parallel()
	needRealm(t)
	const fill = `fill() { i=$1; while [ $i -le $2 ]; do login -c "KCM:$(id -u):$i" alice; i=$((i + 1)); done; }
`
	for _, storage := range storages {
		s := newSystem(t, kept(storage)).start()
		is(t, s, somebody(), fill+`fill 1 64; caches; ! login -c "KCM:$(id -u):65" alice 2>/dev/null; caches`, "64\n64")
		s.configure(kept(storage, "max_uid_ccaches = 65"))
		s.restart()
		first := 65
		if storage == "memory" {
			first = 1 // which may begin empty
		}
		is(t, s, somebody(), fmt.Sprintf(fill+`fill %d 65; caches; ! login -c "KCM:$(id -u):66" alice 2>/dev/null; caches; kdestroy -A; fill 1 2; caches`, first), "65\n65\n2")
		s.stop()
	}
}

// expired makes a cache whose only ticket is long past, as it is found the
// day after.
func expired(t *testing.T, c *kcmClient, name string) {
	t.Helper()
	if err := c.Initialize(name, principal("bob")); err != nil {
		t.Fatal(err)
	}
	storeEnded(t, c, name, "krbtgt", time.Unix(2, 0))
}

// storeEnded stores a ticket of bob's that has expired.
func storeEnded(t *testing.T, c *kcmClient, name, service string, end time.Time) {
	t.Helper()
	ticket := protocol.Credential{
		Client: principal("bob"), Server: principal(service, "EXAMPLE.TEST"), Key: protocol.Keyblock{Enctype: 18, Key: make([]byte, 32)},
		Times: protocol.Times{Auth: 1, Start: 1, End: uint32(end.Unix())}, Ticket: []byte("past"),
	}
	if _, err := c.Call(protocol.OpStore, protocol.AppendCredential(protocol.AppendName(nil, name), ticket)); err != nil {
		t.Fatal(err)
	}
}

func TestExpiredCachesDoNotStandInTheWayOfNewOnes(t *testing.T) {
	t.Parallel()
	needRealm(t)
	s := newSystem(t, defaults).start()
	u, c := somebody(), s.kcm()
	for i := range 64 {
		expired(t, c, fmt.Sprintf("%d:%d", u, i))
	}
	is(t, s, u, `caches; for i in 1 2 3 4 5; do login -c "KCM:$(id -u):new$i" alice; done; klist -A | grep -c alice@; klist -A -s`, "64\n5")
}

func TestFullSecretsOfAUserDoNotKeepTicketsOut(t *testing.T) {
	t.Parallel()
	needRealm(t)
	s := newSystem(t, "[sssd]\n[secrets/secrets]\nmax_secrets = 3\n").start()
	is(t, s, somebody(), `
		put() { curl -sS -o /dev/null -w '%{http_code}\n' --unix-socket "$ROOT/var/run/secrets.socket" -X PUT \
			-H 'Content-Type: application/json' -d '{"type":"simple","value":"v"}' http://localhost/secrets/$1; }
		put a; put b; put c; put d; login alice; login bob; caches`, "200\n200\n200\n507\n2")
}

func TestTheDebugLevelDecidesWhatIsLogged(t *testing.T) {
	t.Parallel()
	needDefaultLevel(t)
	needRealm(t)
	s := newSystem(t, kept("secrets", "debug_level = 0")).start()
	s.sh(somebody(), login+`login alice; klist; kdestroy`)
	if text := s.log("sssd_kcm"); text != "" {
		t.Errorf("at level 0 there is:\n%s", text)
	}
	s.configure(kept("secrets", "debug_level = 9"))
	s.restart()
	s.sh(somebody(), login+`login alice; klist; kdestroy`)
	expect(t, s.log("sssd_kcm"), "REPLACE", "GET_PRINCIPAL", "DESTROY")
}
