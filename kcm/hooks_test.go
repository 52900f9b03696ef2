package kcm

import (
	"fmt"
	"strings"
	"testing"

	"gosssd/kcm/protocol"
	"gosssd/responder/metric"
)

// TestHooksAreOwedAsLongAsATicketMayExpire also shows that a hook that cannot be
// started costs its line in the log only.
func TestHooksAreOwedAsLongAsATicketMayExpire(t *testing.T) {
	r := newRig(t, conf{hookKey: "neither a path nor a template", "purge_expired_credentials_interval": "0"})
	eventually(t, "a server that knows of no tickets may exit", r.server.MayExit)
	c := r.client(1000)
	c.must(protocol.OpInitialize, name("1000"), princ("alice@"+realm))
	c.must(protocol.OpStore, name("1000"), raw(ticket("alice", tgs, 36000)))
	failed := func(n uint64) func() bool {
		return func() bool { return metric.Words(r.server.Metrics())["hooks failed"] == n }
	}
	eventually(t, "the hook has failed", failed(1))
	if r.server.MayExit() {
		t.Error("the server may exit before the ticket has expired")
	}
	r.server.evict(r.server.users.of(1000))
	if r.server.MayExit() {
		t.Error("the server may exit when the user is not in memory")
	}
	c.must(protocol.OpDestroy, name("1000"))
	eventually(t, "it has failed again", failed(2))
	eventually(t, "the server may exit", r.server.MayExit)
	eventually(t, "each has its line", func() bool {
		got := r.logged.String()
		return strings.Count(got, "a ticket hook has failed") == 2 && strings.Contains(got, "event=destroyed")
	})
}

// TestHooksForUsersWhoNeverCome starts a server on what another one has stored.
func TestHooksForUsersWhoNeverCome(t *testing.T) {
	r := newRig(t, conf{"purge_expired_credentials_interval": "0"})
	c := r.client(1000)
	c.must(protocol.OpInitialize, name("1000"), princ("alice@"+realm))
	c.must(protocol.OpStore, name("1000"), raw(ticket("alice", tgs, 36000)))
	r.start(conf{hookKey: "neither a path nor a template", "purge_expired_credentials_interval": "0"})
	eventually(t, "all users are known", r.server.surveyed.Load)
	if r.server.MayExit() {
		t.Error("the server may exit before the ticket has expired")
	}
	eventually(t, "nobody is in memory", func() bool { return r.server.users.resident.Load() == 0 })
	if got := metric.Words(r.server.Metrics()); got["hooks failed"]+got["hooks waiting"] != 0 {
		t.Errorf("a start is an event: %v", got)
	}
}

// TestOnlyTheLoginsTicketIsToldOf: services' tickets, TGTs of other realms, and
// gssproxy's credential without an end are none.
func TestOnlyTheLoginsTicketIsToldOf(t *testing.T) {
	r := newRig(t, conf{hookKey: "neither a path nor a template"})
	c := r.client(1000)
	for i, cred := range []protocol.Credential{
		ticket("alice", "host/server@"+realm, 36000), ticket("alice", "krbtgt/OTHER@"+realm, 36000),
		ticket("alice", "krbtgt/OTHER@OTHER", 36000), {Client: principalOf("alice@" + realm), Server: principalOf(tgs), Ticket: []byte("sealed")},
	} {
		cacheName := fmt.Sprint("1000:", i)
		c.must(protocol.OpInitialize, name(cacheName), princ("alice@"+realm))
		c.must(protocol.OpStore, name(cacheName), raw(cred))
	}
	c.login("1000", "alice") // whose event comes behind theirs
	eventually(t, "its hook has failed", func() bool { return metric.Words(r.server.Metrics())["hooks failed"] > 0 })
	eventually(t, "it has its line", func() bool { return strings.Contains(r.logged.String(), "cache=1000 ") })
	if got := metric.Words(r.server.Metrics()); got["hooks failed"] != 1 {
		t.Errorf("%v:\n%s", got, r.logged.String())
	}
}
