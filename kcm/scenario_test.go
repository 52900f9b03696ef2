package kcm

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"gosssd/kcm/protocol"
)

// The scenarios that the tests of MIT's library, of SSSD and of Heimdal run
// with real programs, here as the requests that those programs send.

func TestKinitReplacesItsCache(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	if got := c.caches(); got != nil {
		t.Fatalf("caches before any login: %v", got)
	}
	if got := c.defaultName(); got != "1000" {
		t.Fatalf("default without caches is %q", got)
	}
	for range 3 {
		c.login("1000", "alice")
		equal(t, "caches", c.caches(), []string{"1000"})
		equal(t, "credentials", c.servers("1000"), []string{tgs})
	}
}

func TestKinitOfOldClientsStoresOneByOne(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	c.must(protocol.OpInitialize, name("1000"), princ("alice@"+realm))
	c.must(protocol.OpSetKDCOffset, name("1000"), u32(5))
	c.must(protocol.OpStore, name("1000"), tgt("alice"))
	c.must(protocol.OpStore, name("1000"), config("alice", "fast_avail", "yes"))
	c.must(protocol.OpStore, name("1000"), config("alice", "fast_avail", "no"))
	equal(t, "credentials", c.servers("1000"), []string{tgs, `krb5_ccache_conf_data/fast_avail@X-CACHECONF:`})
	if got := c.must(protocol.OpGetKDCOffset, name("1000")); !bytes.Equal(got, u32(5)) {
		t.Errorf("offset is %x", got)
	}
	if got := c.must(protocol.OpGetPrincipal, name("1000")); !bytes.Equal(got, princ("alice@"+realm)) {
		t.Errorf("principal is %x", got)
	}
}

func config(clientName, key, value string) []byte {
	cred := ticket(clientName, "krb5_ccache_conf_data/"+key+"@X-CACHECONF:", 0)
	cred.Times, cred.Ticket = protocol.Times{}, []byte(value)
	return raw(cred)
}

func TestSeveralPrincipals(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	for i, who := range []string{"alice", "bob", "carol"} {
		cacheName := strings.TrimSuffix(string(c.must(protocol.OpGenNew)), "\x00")
		c.login(cacheName, who)
		c.must(protocol.OpSetDefaultCache, name(cacheName))
		if got := c.defaultName(); got != cacheName {
			t.Fatalf("default after login %d is %q, not %q", i, got, cacheName)
		}
	}
	all := c.caches()
	c.must(protocol.OpStore, name(all[2]), service("carol", "host/a"))
	equal(t, "credentials of carol", c.servers(all[2]), []string{tgs, "host/a@" + realm})
	equal(t, "credentials of alice", c.servers(all[0]), []string{tgs})

	c.must(protocol.OpDestroy, name(all[2]))
	equal(t, "caches left", c.caches(), all[:2])
	if got := c.defaultName(); got != all[0] {
		t.Errorf("with the default destroyed, %q serves as default, not the oldest", got)
	}
	c.login(all[2], "carol")
	equal(t, "credentials after a new login", c.servers(all[2]), []string{tgs})
	for _, cacheName := range c.caches() {
		c.must(protocol.OpDestroy, name(cacheName))
	}
	if got := c.caches(); got != nil {
		t.Errorf("left after all were destroyed: %v", got)
	}
	if left := r.store.records(1000); len(left) != 0 {
		t.Errorf("records left: %v", sortedKeys(left))
	}
}

func TestSwitchingBetweenCaches(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	c.login("1000:a", "alice")
	c.login("1000:b", "bob")
	if got := c.defaultName(); got != "1000:a" {
		t.Errorf("default is %q: a login does not switch", got)
	}
	for _, cacheName := range []string{"1000:b", "1000:a", "1000:b"} {
		c.must(protocol.OpSetDefaultCache, name(cacheName))
		if got := c.defaultName(); got != cacheName {
			t.Errorf("default is %q, not %q", got, cacheName)
		}
	}
	id := c.must(protocol.OpGetCacheUUIDList)[16:]
	c.must(protocol.OpInitialize, name("1000:b"), princ("bob@"+realm))
	if got := c.must(protocol.OpGetCacheUUIDList)[16:]; !bytes.Equal(got, id) {
		t.Error("INITIALIZE gave an existing cache another UUID or place")
	}
	if got := c.defaultName(); got != "1000:b" {
		t.Errorf("after INITIALIZE the default is %q", got)
	}
}

func TestDelegationBySSHD(t *testing.T) {
	for order, steps := range map[string][]protocol.Op{
		"the switch comes last":            {protocol.OpInitialize, protocol.OpStore, protocol.OpSetDefaultCache},
		"the switch comes before the name": {protocol.OpSetDefaultCache, protocol.OpInitialize, protocol.OpStore},
	} {
		t.Run(order, func(t *testing.T) {
			r := newRig(t, nil)
			c := r.client(1000)
			for range 10 {
				cacheName := c.must(protocol.OpGenNew)
				for _, step := range steps {
					switch step {
					case protocol.OpInitialize:
						c.must(step, cacheName, princ("alice@"+realm))
					case protocol.OpStore:
						c.must(step, cacheName, tgt("alice"))
					default:
						c.must(step, cacheName)
					}
				}
				if got := c.must(protocol.OpGetDefaultCache); !bytes.Equal(got, cacheName) {
					t.Fatalf("default is %q, not %q", got, cacheName)
				}
			}
			names := c.caches()
			if len(names) != 10 {
				t.Fatalf("ten logins left %v", names)
			}
			for _, n := range names {
				equal(t, "credentials of "+n, c.servers(n), []string{tgs})
			}
		})
	}
}

func TestCacheWithoutPrincipal(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	c.must(protocol.OpSetDefaultCache, name("1000:new"))
	c.refused(protocol.NoFile, protocol.OpGetPrincipal, name("1000:new"))
	equal(t, "caches", c.caches(), []string{"1000:new"})
	id := c.must(protocol.OpGetCacheUUIDList)
	c.must(protocol.OpInitialize, name("1000:new"), princ("alice@"+realm))
	if got := c.must(protocol.OpGetCacheUUIDList); !bytes.Equal(got, id) {
		t.Error("INITIALIZE did not keep the UUID")
	}
}

func TestMissingCacheHasTheCodeOfTheOperation(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	missing := name("1000:none")
	id := make([]byte, 16)
	tag := protocol.AppendCredtag(nil, protocol.Credtag{})
	tests := map[protocol.Op]struct {
		params [][]byte
		want   protocol.Code
	}{
		protocol.OpGetName:         {nil, protocol.NoFile},
		protocol.OpGetPrincipal:    {nil, protocol.NoFile},
		protocol.OpDestroy:         {nil, protocol.NoFile},
		protocol.OpGetKDCOffset:    {nil, protocol.NoFile},
		protocol.OpSetKDCOffset:    {[][]byte{u32(1)}, protocol.NoFile},
		protocol.OpStore:           {[][]byte{tgt("alice")}, protocol.NoFile},
		protocol.OpGetCredUUIDList: {nil, protocol.NoFile},
		protocol.OpGetCredList:     {nil, protocol.NoFile},
		protocol.OpGetCredByUUID:   {[][]byte{id}, protocol.End},
		protocol.OpRetrieve:        {[][]byte{u32(0), tag}, protocol.NoFile},
		protocol.OpRemoveCred:      {[][]byte{u32(0), tag}, protocol.NoFile},
		protocol.OpSetFlags:        {[][]byte{u32(0)}, protocol.NoFile},
		protocol.OpChmod:           {[][]byte{u16(0o600)}, protocol.NoFile},
		protocol.OpChown:           {[][]byte{u32(1000), u32(1000)}, protocol.NoFile},
		protocol.OpMoveCache:       {[][]byte{name("1000:x")}, protocol.NoFile},
	}
	for op, test := range tests {
		t.Run(op.String(), func(t *testing.T) {
			c.t = t
			c.refused(test.want, op, append([][]byte{missing}, test.params...)...)
		})
	}
	c.t = t
	c.refused(protocol.End, protocol.OpGetCacheByUUID, id)
	c.refused(protocol.NoFile, protocol.OpGetCacheUUIDList)
}

// MIT's library asks for a cache's offset only when it goes through the cache.
func TestRetrieveDoesNotServeACacheWhoseKDCHasAnotherTime(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	for offset, served := range map[int32]bool{0: true, 60: true, -60: true, 61: false, -61: false, 26 * 3600: false, -26 * 3600: false, math.MinInt32: false} {
		c.must(protocol.OpReplace, name("1000"), u32(uint32(offset)), princ("alice@"+realm), protocol.AppendCredentialList(nil, [][]byte{tgt("alice")}))
		if served {
			c.must(protocol.OpRetrieve, name("1000"), u32(1), credtagOf(tgt("alice")))
		} else {
			c.notRun(protocol.NoSupport, protocol.OpRetrieve, name("1000"), u32(1), credtagOf(tgt("alice")))
		}
	}
	c.refused(protocol.NoFile, protocol.OpRetrieve, name("1000:none"), u32(1), credtagOf(tgt("alice")))
}

func TestCredentialsByUUID(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	c.login("1000", "alice")
	for i := range 5 {
		c.must(protocol.OpStore, name("1000"), service("alice", fmt.Sprintf("host/%d", i)))
	}
	ids := slices.Collect(slices.Chunk(c.must(protocol.OpGetCredUUIDList, name("1000")), 16))
	if len(ids) != 6 {
		t.Fatalf("%d UUIDs", len(ids))
	}
	if got := c.must(protocol.OpGetCredByUUID, name("1000"), ids[3]); !bytes.Equal(got, service("alice", "host/2")) {
		t.Error("the fourth UUID is not that of the fourth credential")
	}
	c.must(protocol.OpStore, name("1000"), service("alice", "host/2"))
	if got := c.must(protocol.OpGetCredUUIDList, name("1000")); !bytes.Equal(got, slices.Concat(ids...)) {
		t.Error("a credential that is renewed in place lost its place or UUID")
	}
	c.login("1000", "alice")
	c.refused(protocol.End, protocol.OpGetCredByUUID, name("1000"), ids[3])
	c.refused(protocol.End, protocol.OpGetCredByUUID, name("1000"), make([]byte, 16))
	c.notRun(protocol.BadFormat, protocol.OpGetCredByUUID, name("1000"), make([]byte, 15))
}

func TestStoreReplacesOnlyTheSameUse(t *testing.T) {
	variant := func(change func(*protocol.Credential)) []byte {
		cred := ticket("alice", "host/a@"+realm, 36000)
		change(&cred)
		return raw(cred)
	}
	for what, test := range map[string]struct {
		second []byte
		want   int // credentials afterwards
	}{
		"the same again":                     {variant(func(c *protocol.Credential) { c.Ticket = []byte("newer") }), 1},
		"another encryption type":            {variant(func(c *protocol.Credential) { c.Key.Enctype = 17 }), 1},
		"another name type":                  {variant(func(c *protocol.Credential) { c.Server.Type = 3 }), 1},
		"another client, by S4U":             {variant(func(c *protocol.Credential) { c.Client = principalOf("bob@" + realm) }), 2},
		"another server":                     {variant(func(c *protocol.Credential) { c.Server = principalOf("nfs/a@" + realm) }), 2},
		"a user-to-user ticket":              {variant(func(c *protocol.Credential) { c.IsSkey, c.SecondTicket = 1, []byte("tgt") }), 2},
		"a ticket with a second ticket":      {variant(func(c *protocol.Credential) { c.SecondTicket = []byte("evidence") }), 2},
		"a ticket with authorization data":   {variant(func(c *protocol.Credential) { c.AuthData = []protocol.Element{{Type: 1, Data: []byte("x")}} }), 2},
		"the same server in another realm":   {variant(func(c *protocol.Credential) { c.Server.Realm = []byte("OTHER") }), 2},
		"components that run together alike": {variant(func(c *protocol.Credential) { c.Server = principalOf("hosta@" + realm) }), 2},
	} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t, nil)
			c := r.client(1000)
			c.must(protocol.OpInitialize, name("1000"), princ("alice@"+realm))
			c.must(protocol.OpStore, name("1000"), service("alice", "host/a"))
			c.must(protocol.OpStore, name("1000"), service("alice", "host/b"))
			c.must(protocol.OpStore, name("1000"), test.second)
			if got := len(c.servers("1000")); got != test.want+1 {
				t.Errorf("%d credentials, want %d", got, test.want+1)
			}
			if got := c.must(protocol.OpRetrieve, name("1000"), u32(uint32(protocol.MatchIsSkey)), credtagOf(test.second)); !bytes.Equal(got, test.second) && test.want == 1 {
				t.Error("the older ticket was kept")
			}
		})
	}
}

func credtagOf(raw []byte) []byte {
	cred, _ := protocol.ParseCredential(raw)
	tag := protocol.Credtag{Present: protocol.HasClient | protocol.HasServer, Credential: cred}
	return protocol.AppendCredtag(nil, tag)
}

func TestRemoveCred(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	c.login("1000", "alice")
	for _, server := range []string{"host/a", "host/b", "host/c"} {
		c.must(protocol.OpStore, name("1000"), service("alice", server))
	}
	c.must(protocol.OpRemoveCred, name("1000"), u32(0), credtagOf(service("alice", "host/b")))
	equal(t, "credentials", c.servers("1000"), []string{tgs, "host/a@" + realm, "host/c@" + realm})
	c.refused(protocol.NotFound, protocol.OpRemoveCred, name("1000"), u32(0), credtagOf(service("alice", "host/b")))
	c.must(protocol.OpRemoveCred, name("1000"), u32(0x40), credtagOf(raw(ticket("alice", "host/c@OTHER", 0))))
	equal(t, "credentials", c.servers("1000"), []string{tgs, "host/a@" + realm})
	c.must(protocol.OpRemoveCred, name("1000"), u32(0), protocol.AppendCredtag(nil, protocol.Credtag{}))
	equal(t, "credentials", c.servers("1000"), nil)
}

func TestMoveCache(t *testing.T) {
	for what, target := range map[string]string{"onto an existing cache": "1000:b", "to a new name": "1000:d"} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t, nil)
			c := r.client(1000)
			for _, n := range []string{"a", "b", "c"} {
				c.login("1000:"+n, n)
			}
			c.must(protocol.OpStore, name("1000:a"), service("a", "host/a"))
			ids := c.must(protocol.OpGetCacheUUIDList)
			c.must(protocol.OpSetDefaultCache, name("1000:b"))
			c.must(protocol.OpMoveCache, name("1000:a"), name(target))
			c.refused(protocol.NoFile, protocol.OpGetPrincipal, name("1000:a"))
			equal(t, "credentials", c.servers(target), []string{tgs, "host/a@" + realm})
			if got := c.must(protocol.OpGetPrincipal, name(target)); !bytes.Equal(got, princ("a@"+realm)) {
				t.Errorf("principal is %x", got)
			}
			if got := c.must(protocol.OpGetCacheUUIDList); target == "1000:b" && !bytes.Equal(got, ids[16:]) {
				t.Error("the target did not keep its UUID and place")
			}
			if got := c.defaultName(); got != "1000:b" {
				t.Errorf("default is %q", got)
			}
			r.checkStore(1000)
			r.start(nil)
			equal(t, "credentials after a restart", r.client(1000).servers(target), []string{tgs, "host/a@" + realm})
		})
	}
}

func TestOperationsWithoutAKDCAreNamedAndKeepTheConnection(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	for _, op := range []protocol.Op{
		protocol.OpGetInitialTicket, protocol.OpGetTicket, protocol.OpAddNTLMCred, protocol.OpHaveNTLMCred, protocol.OpDelNTLMCred,
		protocol.OpDoNTLMAuth, protocol.OpGetNTLMUserList, 29, 12999, 13000, 13003, 65535,
	} {
		c.notRun(protocol.NoSupport, op)
	}
	c.must(protocol.OpNoop)
}

func TestTheTableHoldsEveryOperationInItsPlace(t *testing.T) {
	for i := range operations {
		op := operations[i].op
		if operationOf(op) != &operations[i] {
			t.Errorf("row %d is that of %v, which is looked for elsewhere", i, op)
		}
		if operations[i].access == nothing != (operations[i].handler == nil) {
			t.Errorf("%v has a handler nobody may use, or the other way round", op)
		}
	}
	if operationOf(29) != &unknown || operationOf(13000) != &unknown || operationOf(13003) != &unknown {
		t.Error("an unknown operation has a row")
	}
}

func TestSmallOperations(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	c.must(protocol.OpNoop)
	c.must(protocol.OpResolve, name("1000:anything"))
	c.refused(protocol.BadName, protocol.OpResolve, name("1001"))
	c.login("1000:a", "alice")
	if got := c.must(protocol.OpGetName, name("1000:a")); string(got) != "1000:a\x00" {
		t.Errorf("GET_NAME returns %q", got)
	}
	c.must(protocol.OpSetFlags, name("1000:a"), u32(1))
	c.must(protocol.OpSetKDCOffset, name("1000:a"), u32(0x7fffffff))
	if got := c.must(protocol.OpGetKDCOffset, name("1000:a")); !bytes.Equal(got, u32(0)) {
		t.Errorf("the offset is %x: the greatest stands for none", got)
	}
	c.must(protocol.OpReplace, name("1000:a"), u32(0x7fffffff), princ("alice@"+realm), u32(0))
	if got := c.must(protocol.OpGetKDCOffset, name("1000:a")); !bytes.Equal(got, u32(0)) {
		t.Errorf("the offset of REPLACE is %x: the greatest stands for none", got)
	}
}
