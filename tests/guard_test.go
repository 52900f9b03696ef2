package tests

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/types"

	"gosssd/kcm/protocol"
)

// getting is a configuration whose server gets tickets.
func getting(lines ...string) string {
	return kept("secdb", append([]string{"get_tickets = yes", "debug_level = 6"}, lines...)...)
}

// newGetting is a system that gets tickets from the KDC in dir.
func newGetting(t testing.TB, dir, conf string) *system {
	t.Helper()
	s := newSystem(t, conf)
	// That of those who have the socket and nothing else.
	s.write("/bare.conf", "[libdefaults]\n  default_ccache_name = KCM:\n  kcm_socket = "+s.path(sockets["sssd_kcm"])+
		"\n  dns_lookup_kdc = false\n  dns_canonicalize_hostname = false\n  rdns = false\n", 0o644)
	return s.askingKDC(dir)
}

// expectAll fails unless a text has all parts, in this order.
func expectAll(t *testing.T, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, part := range parts {
		_, after, found := strings.Cut(rest, part)
		if !found {
			t.Fatalf("%q is missing, or not in this order:\n%s", part, text)
		}
		rest = after
	}
}

// TestServicesAreUsedWithoutTheKeyOfTheTGT: the user's programs have no way to a
// KDC and no realm in krb5.conf, and never the key.
func TestServicesAreUsedWithoutTheKeyOfTheTGT(t *testing.T) {
	t.Parallel()
	needRoot(t)
	needUnpacked(t, "services", "apache2-bin", "")
	r := needRealm(t)
	s := newGetting(t, r.dir, getting("guard = yes"))
	s.sh(alice, "echo secret | kinit alice")
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	script := `
		curl -sS --negotiate -u : http://server.example.test/index.html
		ldapwhoami -Q -Y GSSAPI -H ldap://server.example.test
		ssh -o PreferredAuthentications=gssapi-with-mic alice@server.example.test echo logged in as \$LOGNAME
		ssh -K -o PreferredAuthentications=gssapi-with-mic alice@server.example.test "echo delegated: \${KRB5CCNAME-nothing}"
		klist`
	out := s.sh(0, fmt.Sprintf("%s/services.sh %s/services.keytab %s %d sh -euc '%s'", here, r.dir, s.path("/bare.conf"), alice, script))
	expectAll(t, out, "a page for those who have a ticket", "dn:uid=alice,", "logged in as alice",
		"delegated: nothing", "krbtgt/EXAMPLE.TEST@EXAMPLE.TEST", "HTTP/server.example.test@", "ldap/server.example.test@", "host/server.example.test@")
	log := s.log("sssd_kcm")
	for _, program := range []string{"curl", "ldapwhoami", "ssh"} {
		if n := strings.Count(log, "a ticket is got: op=RETRIEVE uid=20001"); n != 3 || !strings.Contains(log, "program="+program) {
			t.Errorf("%d tickets were got, or not for %s:\n%s", n, program, log)
		}
	}
}

// TestNoProgramHasTheKeyOfTheTGT reads all that the socket gives to a user, and
// tries what a thief would.
func TestNoProgramHasTheKeyOfTheTGT(t *testing.T) {
	t.Parallel()
	needRoot(t)
	r := needRealm(t)
	s := newGetting(t, r.dir, getting("guard = *@EXAMPLE.TEST")+fmt.Sprintf("[kcm/socket thief]\npath = /thief\nuser = %d\n", alice))
	s.sh(alice, `
		echo secret | kinit alice
		kvno -q host/server.example.test
		klist | grep krbtgt/EXAMPLE.TEST@EXAMPLE.TEST`)
	name := fmt.Sprint(alice)
	root, thief := s.kcm(), s.kcmAt("/thief")
	all, err := root.Credentials(name)
	if err != nil {
		t.Fatal(err)
	}
	tgt := slices.IndexFunc(all, func(c protocol.Credential) bool { return c.Server.IsTGS() })
	key := all[tgt].Key.Key
	shown := readEverything(thief, name)
	if bytes.Contains(shown, key) || !bytes.Contains(shown, all[tgt].Ticket) {
		t.Error("the key is shown, or not even the ticket")
	}
	stolen, err := thief.Credentials(name)
	if err != nil {
		t.Fatal(err)
	}
	forged := stolen[tgt]
	forged.Key.Key = make([]byte, 32)
	for what, c := range map[string]struct {
		tgt  protocol.Credential
		says string
	}{
		"the ticket as it is shown":     {stolen[tgt], "kvno: "},
		"the ticket with a guessed key": {forged, "Decrypt integrity check failed"},
	} {
		file := fileCache(c.tgt)
		s.write("/stolen", string(file), 0o644)
		out := s.shFails(alice, "cp "+s.path("/stolen")+" /tmp/stolen-$$ && KRB5CCNAME=FILE:/tmp/stolen-$$ kvno host/third.example.test; e=$?; rm /tmp/stolen-$$; exit $e")
		if !strings.Contains(out, c.says) {
			t.Errorf("%s: %s", what, out)
		}
	}
	// With the key it would work, so that the test shows something.
	s.write("/stolen", string(fileCache(all[tgt])), 0o644)
	s.sh(alice, "cp "+s.path("/stolen")+" /tmp/stolen-$$ && KRB5CCNAME=FILE:/tmp/stolen-$$ kvno host/third.example.test; e=$?; rm /tmp/stolen-$$; exit $e")
}

// readEverything sends every request that reads, and returns all replies.
func readEverything(c *kcmClient, cache string) (all []byte) {
	name := protocol.AppendName(nil, cache)
	anything := protocol.AppendCredtag(make([]byte, 4), protocol.Credtag{})
	for _, op := range []protocol.Op{
		protocol.OpGetName, protocol.OpRetrieve, protocol.OpGetPrincipal, protocol.OpGetCredUUIDList,
		protocol.OpGetCacheUUIDList, protocol.OpGetDefaultCache, protocol.OpGetCredList,
	} {
		for _, params := range [][]byte{nil, name, slices.Concat(name, anything)} {
			results, err := c.Call(op, params)
			if err != nil {
				c.reset()
			}
			all = append(all, results...)
		}
	}
	ids, _ := c.Call(protocol.OpGetCredUUIDList, name)
	for ; len(ids) >= 16; ids = ids[16:] {
		cred, _ := c.Call(protocol.OpGetCredByUUID, name, ids[:16])
		all = append(all, cred...)
	}
	return all
}

// fileCache is a FILE cache of version 4 with one credential.
func fileCache(c protocol.Credential) []byte {
	b := protocol.AppendPrincipal([]byte{5, 4, 0, 0}, c.Client)
	return protocol.AppendCredential(b, c)
}

// TestWhatNeedsTheKeyIsRefusedInWords follows the table of sssd-kcm(8).
func TestWhatNeedsTheKeyIsRefusedInWords(t *testing.T) {
	t.Parallel()
	needRoot(t)
	r := needRealm(t)
	s := newGetting(t, r.dir, getting("guard = yes"))
	s.sh(alice, "echo secret | kinit alice")
	for command, says := range map[string]string{
		"kinit -R":                      "kinit: Permission denied while renewing credentials",
		"kvno krbtgt/EXAMPLE.TEST":      "kvno: Permission denied while getting credentials",
		"kvno host/nobody.example.test": "Server not found in Kerberos database",
		"kvno -U bob alice":             "kvno: Permission denied",
	} {
		if out := s.shFails(alice, command); !strings.Contains(out, says) {
			t.Errorf("%s: %s", command, out)
		}
	}
	s.sh(alice, `
		kvno -q host/server.example.test
		echo secret | kinit -c KCM:20001:second bob
		kswitch -p bob@EXAMPLE.TEST
		kvno -q host/server.example.test
		kdestroy -q
		KRB5CCNAME=KCM:20001 kvno -q host/other.example.test`)
	// Root's programs have the key as ever.
	s.sh(0, "echo secret | kinit alice; kvno -q krbtgt/EXAMPLE.TEST; kinit -R")
}

// TestAServiceInATrustedRealm asks two real KDCs.
func TestAServiceInATrustedRealm(t *testing.T) {
	t.Parallel()
	needRoot(t)
	needRealm(t)
	dir := t.TempDir()
	near, err := startKDC(dir+"/near", "env", "TRUST=OTHER.TEST")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(near.stop)
	far, err := startKDC(dir+"/far", "env", "REALM=OTHER.TEST", "TRUST=EXAMPLE.TEST")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(far.stop)
	s := newGetting(t, dir+"/near", getting("guard = yes"))
	text, err := os.ReadFile(s.path("/etc/krb5.conf"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("/etc/krb5.conf", strings.Replace(string(text), "[realms]", fmt.Sprintf("[realms]\n  OTHER.TEST = {\n    kdc = 127.0.0.1:%d\n  }", far.port), 1), 0o644)
	s.sh(alice, "echo secret | kinit alice")
	// By the realm; and by a referral, from a client that knows neither realm.
	out := s.sh(alice, `
		kvno -q host/server.other.test@OTHER.TEST
		kvno -q host/other.other.test@OTHER.TEST
		KRB5_CONFIG=`+s.path("/bare.conf")+` kvno -q -S host third.other.test
		klist`)
	expectAll(t, out, "krbtgt/OTHER.TEST@EXAMPLE.TEST", "host/server.other.test@OTHER.TEST", "host/other.other.test@OTHER.TEST", "host/third.other.test@")
	if n := strings.Count(out, "krbtgt/OTHER.TEST@EXAMPLE.TEST"); n != 1 {
		t.Errorf("%d tickets for the other realm:\n%s", n, out)
	}
	if says := s.shFails(alice, "kvno host/nobody.other.test@OTHER.TEST"); !strings.Contains(says, "Server not found in Kerberos database") {
		t.Error(says)
	}
}

// TestManyProcessesCostOneExchange counts in the KDC's log.
func TestManyProcessesCostOneExchange(t *testing.T) {
	t.Parallel()
	r := needRealm(t)
	s := newGetting(t, r.dir, getting("guard = yes"))
	u := everybody()[len(everybody())-1]
	s.sh(u, `
		echo secret | kinit u19
		jobs=
		for i in $(seq 200); do kvno -q host/fifth.example.test & jobs="$jobs $!"; done
		for job in $jobs; do wait $job; done`)
	log, err := os.ReadFile(r.dir + "/kdc.log")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(log), "u19@EXAMPLE.TEST for host/fifth.example.test"); n != 1 {
		t.Errorf("the KDC was asked %d times", n)
	}
}

// TestWithoutAKDCClientsDoAsWithFILE: the KDC is away, or answers rubbish.
func TestWithoutAKDCClientsDoAsWithFILE(t *testing.T) {
	t.Parallel()
	needRealm(t)
	dir := t.TempDir()
	k, err := startKDC(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.stop() })
	s := newGetting(t, dir, getting())
	u := everybody()[len(everybody())-1]
	s.sh(u, "echo secret | kinit alice; echo secret | kinit -c FILE:/tmp/file-$(id -u)-"+fmt.Sprint(k.port)+" alice")
	file := fmt.Sprintf("/tmp/file-%d-%d", u, k.port)
	t.Cleanup(func() { os.Remove(file) })
	k.stop()
	for _, service := range []string{"host/server.example.test", "host/other.example.test"} {
		withFILE := s.shFails(u, "KRB5CCNAME=FILE:"+file+" kvno "+service)
		withKCM := s.shFails(u, "kvno "+service)
		if withKCM != withFILE || !strings.Contains(withKCM, "Cannot contact any KDC") {
			t.Errorf("%q, with FILE %q", withKCM, withFILE)
		}
	}
}

// TestHeimdalsClientsUnderTheGuard follows the table of sssd-kcm(8): Heimdal's
// library goes through the cache itself, and never asks for what is not there.
func TestHeimdalsClientsUnderTheGuard(t *testing.T) {
	t.Parallel()
	needRoot(t)
	r := needRealm(t)
	s := newGetting(t, r.dir, getting("guard = alice@*"))
	s.sh(alice, heimdal(t, `
		printf secret >/tmp/password-$$
		h_kinit --password-file=/tmp/password-$$ alice && rm /tmp/password-$$
		h_klist | grep krbtgt/EXAMPLE.TEST@EXAMPLE.TEST
		kvno -q host/server.example.test
		h_kgetcred host/server.example.test@EXAMPLE.TEST`))
	const noKey = "encryption key has bad length"
	for _, command := range []string{"h_kgetcred host/other.example.test@EXAMPLE.TEST", "h_kinit -R"} {
		if out := s.shFails(alice, heimdal(t, command)); !strings.Contains(out, noKey) {
			t.Errorf("%s: %s", command, out)
		}
	}
	// With a principal that the guard does not cover they do as ever.
	s.sh(bob, heimdal(t, `
		echo secret | kinit bob
		h_kgetcred host/other.example.test@EXAMPLE.TEST
		h_kinit -R`))
}

// TestAServersKeyGetsItsFirstTicket: GET_INITIAL_TICKET and GET_TICKET against a
// real KDC. No client library sends them by itself.
func TestAServersKeyGetsItsFirstTicket(t *testing.T) {
	t.Parallel()
	needRoot(t)
	r := needRealm(t)
	keys, err := keytab.Load(r.dir + "/services.keytab")
	if err != nil {
		t.Fatal(err)
	}
	s := newGetting(t, r.dir, getting())
	c := s.kcm()
	const cache = "0:server"
	client := principal("host", "server.example.test")
	if err := c.Initialize(cache, client); err != nil {
		t.Fatal(err)
	}
	service := types.NewPrincipalName(1, "host/server.example.test")
	for _, enctype := range []int32{17, 18, 19, 20} {
		secret, _, err := keys.GetEncryptionKey(service, "EXAMPLE.TEST", 0, enctype)
		if err != nil {
			t.Fatal(err)
		}
		key := protocol.AppendKeyblock([]byte{0}, protocol.Keyblock{Enctype: int16(enctype), Key: secret.KeyValue})
		if _, err := c.Call(protocol.OpGetInitialTicket, protocol.AppendName(nil, cache), key); err != nil {
			t.Fatalf("enctype %d: %v", enctype, err)
		}
		secret.KeyValue[0]++
		key = protocol.AppendKeyblock([]byte{0}, protocol.Keyblock{Enctype: int16(enctype), Key: secret.KeyValue})
		if _, err := c.Call(protocol.OpGetInitialTicket, protocol.AppendName(nil, cache), key); err == nil {
			t.Errorf("enctype %d: a wrong key gets a ticket", enctype)
		}
	}
	options := make([]byte, 4+4)
	other := protocol.AppendPrincipal(nil, principal("host", "other.example.test"))
	if _, err := c.Call(protocol.OpGetTicket, protocol.AppendName(nil, cache), options, other); err != nil {
		t.Fatal(err)
	}
	out := s.sh(0, "KRB5CCNAME=KCM:"+cache+" klist; KRB5CCNAME=KCM:"+cache+" kvno -q host/third.example.test")
	expectAll(t, out, "krbtgt/EXAMPLE.TEST@EXAMPLE.TEST", "host/other.example.test@EXAMPLE.TEST")
}

// TestAKDCThatIsSlowOrLiesIsTheClientsAsWithFILE: the server gives up, and the
// client's library meets the KDC itself.
func TestAKDCThatIsSlowOrLiesIsTheClientsAsWithFILE(t *testing.T) {
	t.Parallel()
	needProgram(t, "kvno")
	for name, lies := range map[string]lie{
		"rubbish": func(conn net.Conn, _, _ []byte, _ <-chan struct{}) { _, _ = conn.Write(framed([]byte("rubbish"))) },
		"half a reply": func(conn net.Conn, _, honest []byte, _ <-chan struct{}) {
			whole := framed(honest)
			_, _ = conn.Write(whole[:len(whole)/2])
		},
		"an answer after six seconds": func(conn net.Conn, _, honest []byte, end <-chan struct{}) {
			select {
			case <-end:
			case <-time.After(6 * time.Second): // more than the server waits
				_, _ = conn.Write(framed(honest))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, getting())
			k := newLyingKDC(t, "EXAMPLE.TEST")
			conf := strings.Replace(realmsConf(k), "[libdefaults]\n", "[libdefaults]\n  default_realm = EXAMPLE.TEST\n  rdns = false\n"+
				"  dns_canonicalize_hostname = false\n  default_ccache_name = KCM:\n  kcm_socket = "+s.path(sockets["sssd_kcm"])+"\n", 1)
			s.write("/krb5.conf", conf, 0o644)
			s.write("/etc/krb5.conf", conf, 0o644)
			s.start()
			me := user(os.Getuid())
			cache := fmt.Sprint(me)
			s.overdue(s.kcm(), cache, k.KDC, "alice")
			creds, err := s.kcm().Credentials(cache)
			if err != nil {
				t.Fatal(err)
			}
			s.write("/ccache", string(fileCache(creds[0])), 0o600)
			k.lie.Store(&lies)
			const service = "host/server.example.test"
			withFILE, fileErr := s.try(me, "KRB5CCNAME=FILE:"+s.path("/ccache")+" kvno "+service)
			withKCM, kcmErr := s.try(me, "kvno "+service)
			if withKCM != withFILE || (fileErr == nil) != (kcmErr == nil) || k.asked.Load() < 3 {
				t.Errorf("%q, %v; with FILE %q, %v; %d requests", withKCM, kcmErr, withFILE, fileErr, k.asked.Load())
			}
			k.lie.Store(nil)
			s.sh(me, "kvno "+service)
		})
	}
}
