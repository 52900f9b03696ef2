package kcm

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gosssd/kcm/protocol"
	"gosssd/responder/log"
)

// fakeKDC gives tickets for all services but those it refuses.
type fakeKDC struct {
	mu      sync.Mutex
	refuses error
	asked   []string
	via     []protocol.Credential // what stands before each ticket
	hold    chan struct{}         // if it is not nil, answers wait until it is closed
}

func (k *fakeKDC) Ticket(ctx context.Context, tgt protocol.Credential, want Wanted, _ time.Duration) ([]protocol.Credential, error) {
	k.mu.Lock()
	hold, err, via := k.hold, k.refuses, k.via
	k.asked = append(k.asked, want.Server.String())
	k.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err != nil {
		return nil, err
	}
	got := ticket("alice", "x@y", 36000)
	got.Server, got.Client = want.Server, tgt.Client
	got.Ticket = append([]byte("got with "), tgt.Ticket...)
	if want.SecondTicket != nil {
		got.IsSkey, got.SecondTicket = 1, want.SecondTicket
	}
	if want.Forwarded {
		got.TicketFlags |= flagForwarded
	}
	return append(slices.Clone(via), got), nil
}

func (k *fakeKDC) Initial(_ context.Context, client, server protocol.Principal, key protocol.Keyblock, _ time.Duration) (protocol.Credential, error) {
	if string(key.Key) != "right" {
		return protocol.Credential{}, refusedBy{24}
	}
	got := ticket("alice", "x@y", 36000)
	got.Server, got.Client = server, client
	return got, nil
}

func (k *fakeKDC) requests() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.asked)
}

// silentRealm is an outage.
type silentRealm string

func (s silentRealm) Error() string       { return "no KDC of " + string(s) + " answers" }
func (s silentRealm) SilentRealm() string { return string(s) }

// ticketRig is a rig whose server gets tickets by a KDC of the test.
func ticketRig(t testing.TB, set conf) (*rig, *fakeKDC) {
	t.Helper()
	r, kdc := newRig(t, nil), &fakeKDC{}
	r.tickets = kdc
	set["get_tickets"] = "yes"
	r.start(set)
	return r, kdc
}

// tagFor is what MIT's library asks for when it wants a ticket for a service.
func tagFor(who, server string) protocol.Credtag {
	t := protocol.Credtag{Present: protocol.HasClient | protocol.HasServer}
	t.Client, t.Server = principalOf(who+"@"+realm), principalOf(server)
	t.Times.End = startOfTime
	return t
}

const usualFlags = protocol.MatchTimes | 1 // GC_CACHED

func retrieval(cacheName string, flags protocol.Flags, tag protocol.Credtag) []byte {
	return slices.Concat(name(cacheName), u32(uint32(flags)), protocol.AppendCredtag(nil, tag))
}

const web = "HTTP/web.example.org@" + realm

func parse(t testing.TB, b []byte) protocol.Credential {
	t.Helper()
	cred, err := protocol.ParseCredential(b)
	if err != nil {
		t.Fatal(err)
	}
	return cred
}

func TestATicketThatTheCacheLacksIsGot(t *testing.T) {
	r, kdc := ticketRig(t, conf{})
	r.mask = log.Mask(4)
	c := r.client(1000)
	c.login("1000", "alice")
	r.signals.take()
	got := parse(t, c.must(protocol.OpRetrieve, retrieval("1000", usualFlags, tagFor("alice", web))))
	if got.Server.String() != web || string(got.Ticket) != "got with ticket for "+tgs || len(got.Key.Key) == 0 {
		t.Errorf("%+v", got)
	}
	equal(t, "services in the cache", c.servers("1000"), []string{tgs, web})
	r.checkStore(1000)
	if logged := r.logged.take(); !strings.Contains(logged, "a ticket is got: op=RETRIEVE uid=1000") || !strings.Contains(logged, "service="+web) {
		t.Error(logged)
	}
	if told := r.signals.take(); !strings.Contains(told, "TicketObtained 1000 1000 alice@"+realm+" "+web+" 1000") {
		t.Error(told)
	}
	c.must(protocol.OpRetrieve, retrieval("1000", usualFlags, tagFor("alice", web)))
	if n := kdc.requests(); n != 1 {
		t.Errorf("the KDC was asked %d times", n)
	}
}

func TestOnlyWhatAKDCCouldHaveIsAskedFor(t *testing.T) {
	r, kdc := ticketRig(t, conf{})
	c := r.client(1000)
	c.login("1000", "alice")
	c.must(protocol.OpInitialize, name("1000:none"), princ("alice@"+realm))
	config := tagFor("alice", "krb5_ccache_conf_data/refresh_time@X-CACHECONF:")
	other := tagFor("bob", web)
	restricted := tagFor("alice", web)
	restricted.Present |= protocol.HasAuthData
	restricted.AuthData = []protocol.Element{{Type: 1, Data: []byte("x")}}
	sealed := tagFor("alice", web)
	sealed.IsSkey = 1
	for _, request := range map[string][]byte{
		"a setting":                     retrieval("1000", usualFlags, config),
		"a ticket for somebody else":    retrieval("1000", usualFlags, other),
		"a TGT":                         retrieval("1000", usualFlags, tagFor("alice", "krbtgt/OTHER@"+realm)),
		"authorization data":            retrieval("1000", usualFlags|protocol.MatchAuthData, restricted),
		"user-to-user without a ticket": retrieval("1000", usualFlags|protocol.MatchIsSkey, sealed),
		"without a TGT":                 retrieval("1000:none", usualFlags, tagFor("alice", web)),
	} {
		c.refused(protocol.End, protocol.OpRetrieve, request)
	}
	r.pass(20 * time.Hour) // the TGT has ended
	c.refused(protocol.End, protocol.OpRetrieve, retrieval("1000", usualFlags, tagFor("alice", web)))
	if n := kdc.requests(); n != 0 {
		t.Errorf("a KDC was asked: %v", kdc.asked)
	}
}

func TestUserToUserIsGotWithTheTicketThatTheClientGives(t *testing.T) {
	r, _ := ticketRig(t, conf{"guard": "yes"})
	c := r.client(1000)
	c.login("1000", "alice")
	tag := tagFor("alice", "bob@"+realm)
	tag.Present |= protocol.HasSecondTicket
	tag.IsSkey, tag.SecondTicket = 1, []byte("bob's TGT")
	got := parse(t, c.must(protocol.OpRetrieve, retrieval("1000", usualFlags|protocol.MatchIsSkey|protocol.MatchSecond, tag)))
	if got.IsSkey != 1 || string(got.SecondTicket) != "bob's TGT" {
		t.Errorf("%+v", got)
	}
}

// TestARefusalIsToldWhereTheClientCannotAsk: without a guard the client's library may try itself;
// with it the KDC's words are the client's.
func TestARefusalIsToldWhereTheClientCannotAsk(t *testing.T) {
	for what, c := range map[string]struct {
		err     error
		guarded protocol.Code
	}{
		"refused": {refusedBy{7}, protocol.OfKDC(7)},
		"silent":  {silentRealm(realm), protocol.Unreachable},
		"other":   {errors.New("useless"), protocol.Unreachable},
	} {
		for _, guard := range []string{"no", "yes"} {
			t.Run(what+" guard="+guard, func(t *testing.T) {
				r, kdc := ticketRig(t, conf{"guard": guard})
				r.mask = log.Mask(4)
				kdc.refuses = c.err
				client := r.client(1000)
				client.login("1000", "alice")
				want := protocol.End
				if guard == "yes" {
					want = c.guarded
				}
				for range 3 {
					client.refused(want, protocol.OpRetrieve, retrieval("1000", usualFlags, tagFor("alice", web)))
				}
				if n := kdc.requests(); n != 1 && what != "other" {
					t.Errorf("asked %d times", n)
				}
				if logged := r.logged.take(); strings.Count(logged, "a ticket is not got") != kdc.requests() {
					t.Error(logged)
				}
			})
		}
	}
}

// whileTheKDCIsAsked has a client look for a ticket that a KDC does not give yet.
// It returns another client of the user, and what lets the KDC give it.
func whileTheKDCIsAsked(t *testing.T, set conf) (other *client, answer func() protocol.Reply) {
	t.Helper()
	r, kdc := ticketRig(t, set)
	kdc.hold = make(chan struct{})
	c := r.client(1000)
	c.login("1000", "alice")
	done := make(chan protocol.Reply)
	go func() {
		done <- c.call(protocol.OpRetrieve, retrieval("1000", usualFlags, tagFor("alice", web)))
	}()
	eventually(t, "the KDC is asked", func() bool { return kdc.requests() == 1 })
	return r.client(1000), func() protocol.Reply {
		close(kdc.hold)
		return <-done
	}
}

// TestALoginMeanwhileLeavesTheTicketOut: it is of another client.
func TestALoginMeanwhileLeavesTheTicketOut(t *testing.T) {
	other, answer := whileTheKDCIsAsked(t, conf{})
	other.login("1000", "bob")
	if reply := answer(); reply.Inner != protocol.End {
		t.Errorf("%+v", reply)
	}
	equal(t, "services in the cache", other.servers("1000"), []string{tgs})
}

// TestARenewalMeanwhileDoesNoHarm: the cache is of the same login.
func TestARenewalMeanwhileDoesNoHarm(t *testing.T) {
	other, answer := whileTheKDCIsAsked(t, conf{"guard": "yes"})
	fresh := ticket("alice", tgs, 72000)
	fresh.Ticket = []byte("renewed")
	other.must(protocol.OpStore, name("1000"), raw(fresh))
	if reply := answer(); reply.Inner != protocol.OK {
		t.Errorf("%+v", reply)
	}
	equal(t, "services in the cache", other.servers("1000"), []string{tgs, web})
}

func TestATicketThatDoesNotFitIsAnsweredAllTheSame(t *testing.T) {
	r, _ := ticketRig(t, conf{"max_ccache_credentials": "1"})
	c := r.client(1000)
	c.login("1000", "alice")
	c.must(protocol.OpRetrieve, retrieval("1000", usualFlags, tagFor("alice", web)))
	equal(t, "services in the cache", c.servers("1000"), []string{tgs})
	if logged := r.logged.take(); !strings.Contains(logged, "a ticket that was got is not stored") {
		t.Error(logged)
	}
}

// TestATicketIsGotBeforeTheClientAsksForTheOffset: so it is in what the client
// then goes through.
func TestATicketIsGotBeforeTheClientAsksForTheOffset(t *testing.T) {
	r, _ := ticketRig(t, conf{})
	c := r.client(1000)
	c.login("1000", "alice")
	c.must(protocol.OpSetKDCOffset, name("1000"), u32(720))
	c.notRun(protocol.NoSupport, protocol.OpRetrieve, retrieval("1000", usualFlags, tagFor("alice", web)))
	equal(t, "services in the cache", c.servers("1000"), []string{tgs, web})
}

func TestOperationsThatGetTickets(t *testing.T) {
	r, kdc := ticketRig(t, conf{})
	kdc.via = []protocol.Credential{ticket("alice", "krbtgt/OTHER@"+realm, 36000)}
	c := r.client(1000)
	c.must(protocol.OpInitialize, name("1000"), princ("alice@"+realm))
	key := func(secret string) []byte {
		return protocol.AppendKeyblock([]byte{0}, protocol.Keyblock{Enctype: 18, Key: []byte(secret)})
	}
	c.refused(protocol.OfKDC(24), protocol.OpGetInitialTicket, name("1000"), key("wrong"))
	c.refused(protocol.NotFound, protocol.OpGetTicket, name("1000"), u32(0), u32(0), princ(web))
	c.must(protocol.OpGetInitialTicket, name("1000"), key("right"))
	c.must(protocol.OpGetTicket, name("1000"), u32(heimdalCanonicalize), u32(0), princ(web))
	equal(t, "services in the cache", c.servers("1000"), []string{tgs, "krbtgt/OTHER@" + realm, web})
	const validate = 1 << 31
	c.notRun(protocol.NoSupport, protocol.OpGetTicket, name("1000"), u32(validate), u32(0), princ(web))

	off := newRig(t, nil).client(1000)
	off.login("1000", "alice")
	off.notRun(protocol.NoSupport, protocol.OpGetTicket, name("1000"), u32(0), u32(0), princ(web))
	off.notRun(protocol.NoSupport, protocol.OpGetInitialTicket, name("1000"), key("right"))
}

// seen is every byte that a client can have of a user's caches, by every
// operation that reads.
func (c *client) seen(cacheName string) []byte {
	c.t.Helper()
	all := c.must(protocol.OpGetCredList, name(cacheName))
	ids := c.must(protocol.OpGetCredUUIDList, name(cacheName))
	for id := range slices.Chunk(ids, 16) {
		all = append(all, c.must(protocol.OpGetCredByUUID, name(cacheName), id)...)
	}
	all = append(all, c.must(protocol.OpRetrieve, retrieval(cacheName, 0, protocol.Credtag{}))...) // anything
	for _, server := range []string{tgs, "krbtgt/OTHER@" + realm} {
		reply := c.call(protocol.OpRetrieve, retrieval(cacheName, 0, tagFor("alice", server)))
		all = append(all, reply.Results...)
	}
	return all
}

// TestNoByteOfAGuardedKeyIsShown: not by any way to read, nor of a copy.
func TestNoByteOfAGuardedKeyIsShown(t *testing.T) {
	secret, crossed := bytes.Repeat([]byte("SECRETKEY"), 3), bytes.Repeat([]byte("CROSSKEY."), 3)
	r, kdc := ticketRig(t, conf{"guard": "*@" + realm})
	c, root := r.client(1000), r.client(0)
	own, cross := ticket("alice", tgs, 36000), ticket("alice", "krbtgt/OTHER@"+realm, 36000)
	own.Key.Key, cross.Key.Key = secret, crossed
	kdc.via = []protocol.Credential{cross}
	fill := func(cacheName string, creds ...protocol.Credential) {
		var list [][]byte
		for _, cred := range creds {
			list = append(list, raw(cred))
		}
		c.must(protocol.OpReplace, name(cacheName), u32(0), princ("alice@"+realm), protocol.AppendCredentialList(nil, list))
	}
	fill("1000", own)
	c.must(protocol.OpRetrieve, retrieval("1000", usualFlags, tagFor("alice", web)))
	c.refused(protocol.Denied, protocol.OpRetrieve, retrieval("1000", usualFlags, tagFor("alice", tgs)))
	shown := c.seen("1000")
	if bytes.Contains(shown, secret[:9]) || bytes.Contains(shown, crossed[:9]) {
		t.Error("a key is shown")
	}
	equal(t, "services", c.servers("1000"), []string{tgs, "krbtgt/OTHER@" + realm, web})

	// A copy that a program makes of what it was shown, under any principal.
	var copies [][]byte
	list := protocol.NewReader(c.must(protocol.OpGetCredList, name("1000")))
	for _, shown := range list.CredentialList() {
		copies = append(copies, slices.Clone(shown))
	}
	c.must(protocol.OpReplace, name("1000:copy"), u32(0), princ("mallory@ELSEWHERE"), protocol.AppendCredentialList(nil, copies))
	c.must(protocol.OpInitialize, name("1000:stored"), princ("mallory@ELSEWHERE"))
	for _, shown := range copies {
		c.must(protocol.OpStore, name("1000:stored"), shown)
	}
	for _, cacheName := range []string{"1000:copy", "1000:stored"} {
		if shown := c.seen(cacheName); bytes.Contains(shown, secret[:9]) || bytes.Contains(shown, crossed[:9]) {
			t.Errorf("%s: a key is shown", cacheName)
		}
		if !bytes.Contains(root.seen(cacheName), secret) {
			t.Errorf("%s: the copy has lost the key", cacheName)
		}
	}
	// A forged client would take the key out of the guard.
	forged := own
	forged.Key.Key, forged.Client = nil, principalOf("mallory@ELSEWHERE")
	c.must(protocol.OpStore, name("1000:stored"), raw(forged))
	if bytes.Contains(c.seen("1000:stored"), secret[:9]) {
		t.Error("a forged name yields the key")
	}
}

func TestAGuardedCacheThatIsLarge(t *testing.T) {
	r, _ := ticketRig(t, conf{"guard": "yes"})
	c := r.client(1000)
	own := ticket("alice", tgs, 36000)
	own.Key.Key = bytes.Repeat([]byte("S"), 32)
	list := [][]byte{raw(own)}
	for i := range 50 {
		large := ticket("alice", "HTTP/"+strings.Repeat("w", i+1)+"@"+realm, 36000)
		large.Ticket = make([]byte, 4000)
		list = append(list, raw(large))
	}
	c.must(protocol.OpReplace, name("1000"), u32(0), princ("alice@"+realm), protocol.AppendCredentialList(nil, list))
	if shown := c.must(protocol.OpGetCredList, name("1000")); bytes.Contains(shown, own.Key.Key) || len(c.servers("1000")) != 51 {
		t.Error("the key is shown, or credentials are missing")
	}
}

func TestWhomTheGuardCovers(t *testing.T) {
	r, _ := ticketRig(t, conf{"guard": "*/admin@" + realm + ", robot-*@*"})
	c := r.client(1000)
	for who, covered := range map[string]bool{"alice": false, "alice/admin": true, "robot-7": true, "a-robot-7": false} {
		c.login("1000:"+who, who)
		reply := c.call(protocol.OpRetrieve, retrieval("1000:"+who, usualFlags, tagFor(who, tgs)))
		if (reply.Inner == protocol.Denied) != covered {
			t.Errorf("%s: %v", who, reply.Inner)
		}
	}
}

func TestAForwardedTicketIsHandedOutWhereThatIsAllowed(t *testing.T) {
	forwarded := tagFor("alice", tgs)
	forwarded.TicketFlags = flagForwarded
	for allowed, want := range map[string]protocol.Code{"no": protocol.End, "yes": protocol.OK} {
		r, _ := ticketRig(t, conf{"guard": "yes", "guard_forward": allowed})
		c := r.client(1000)
		c.login("1000", "alice")
		reply := c.call(protocol.OpRetrieve, retrieval("1000", usualFlags|protocol.MatchFlags, forwarded))
		if reply.Inner != want {
			t.Errorf("guard_forward = %s: %v", allowed, reply.Inner)
		}
		if want == protocol.OK && len(parse(t, reply.Results).Key.Key) == 0 {
			t.Error("it has no key")
		}
		equal(t, "services in the cache", c.servers("1000"), []string{tgs})
	}
}

func TestOptionsOfTicketsThatCannotWork(t *testing.T) {
	for _, c := range []struct {
		set  conf
		says string // "" where all is well
	}{
		{conf{"guard": "yes"}, "needs get_tickets = yes"},
		{conf{"guard": "no"}, ""},
		{conf{"get_tickets": "yes", "guard": "yes, *@A"}, "'yes' stands for all principals or none"},
		{conf{"get_tickets": "yes", "guard": "everyone"}, "'everyone' is no principal"},
		{conf{"get_tickets": "yes", "guard_forward": "yes"}, "needs guard"},
		{conf{"get_tickets": "yes", "guard": "*@A, b/admin@C"}, ""},
	} {
		remarks := check(snapshot(t, c.set))
		if c.says == "" && len(remarks) == 0 {
			continue
		}
		if len(remarks) != 1 || c.says == "" || !strings.Contains(remarks[0].Text, c.says) {
			t.Errorf("%v: %v, want %q", c.set, remarks, c.says)
		}
	}
}

func TestPatternsOfPrincipals(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"a@B", "a@B", true}, {"a@B", "a@BC", false}, {"*", "", true}, {"*@B", "x/y@B", true}, {"*@B", "@C", false},
		{"a*a", "a", false}, {"a*a", "aa", true}, {"*a*b*", "xxaxxbxx", true}, {"*a*b*", "ba", false}, {"a**b", "ab", true},
	} {
		if got := matches(c.pattern, c.text); got != c.want {
			t.Errorf("%q as %q: %v", c.text, c.pattern, got)
		}
	}
}
