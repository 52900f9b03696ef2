package kcm

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gosssd/kcm/protocol"
	"gosssd/kcm/renewal"
)

// renewingRig is a rig that renews tickets by a KDC of the test. Its clock is
// the machine's, as the renewer's is.
func renewingRig(t testing.TB, kdc renewal.KDC) *rig {
	t.Helper()
	r := newRig(t, nil)
	r.clock.Store(time.Now().Unix())
	r.kdc = kdc
	r.start(withRenewal())
	return r
}

func withRenewal() conf { return conf{renewalKey: "true", intervalKey: "1h"} }

// dueTGT is a ticket-granting ticket that has more than half of its life behind
// it. Its number, and the version 0, are in the ticket.
func dueTGT(number int) protocol.Credential {
	now := uint32(time.Now().Unix())
	cred := ticket("alice", tgs, 0)
	cred.Times = protocol.Times{Auth: now - 36000, Start: now - 36000, End: now + 3600, RenewTill: now + 7*86400}
	cred.TicketFlags = flagRenewable
	cred.Ticket = fmt.Appendf(nil, "%d/0", number)
	return cred
}

// renewed is the answer of a KDC.
func renewed(tgt protocol.Credential) protocol.Credential {
	var number, version int
	_, _ = fmt.Sscanf(string(tgt.Ticket), "%d/%d", &number, &version)
	now := uint32(time.Now().Unix())
	tgt.Times.Start, tgt.Times.End = now, now+36000
	tgt.Ticket = fmt.Appendf(nil, "%d/%d", number, version+1)
	return tgt
}

// tgtOf is the number and version of the ticket-granting ticket of a cache.
func (c *client) tgtOf(cacheName string) (number, version int) {
	c.t.Helper()
	reply := c.call(protocol.OpGetCredList, name(cacheName))
	if reply.Inner != 0 {
		return absent, 0
	}
	r := protocol.NewReader(reply.Results)
	for _, raw := range r.CredentialList() {
		if cred, err := protocol.ParseCredential(raw); err == nil && cred.Server.IsTGS() {
			_, _ = fmt.Sscanf(string(cred.Ticket), "%d/%d", &number, &version)
			return number, version
		}
	}
	return absent, 0
}

func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not so", what)
		}
	}
}

func TestARenewalChangesTheTicketAlone(t *testing.T) {
	asked := make(chan time.Duration, 9)
	r := renewingRig(t, func(_ context.Context, tgt protocol.Credential, offset time.Duration) (protocol.Credential, error) {
		asked <- offset
		return renewed(tgt), nil
	})
	c := r.client(1000)
	c.login("1000:other", "bob")
	c.must(protocol.OpInitialize, name("1000"), princ("alice@"+realm))
	c.must(protocol.OpSetKDCOffset, name("1000"), u32(100))
	c.must(protocol.OpStore, name("1000"), service("alice", "host/a"))
	c.must(protocol.OpStore, name("1000"), raw(dueTGT(1)))
	c.must(protocol.OpSetDefaultCache, name("1000:other"))
	uuids := c.must(protocol.OpGetCredUUIDList, name("1000"))
	eventually(t, "the ticket is renewed", func() bool { _, version := c.tgtOf("1000"); return version == 1 })
	if offset := <-asked; offset != 100*time.Second {
		t.Errorf("the KDC's clock is taken to be %v ahead", offset)
	}
	equal(t, "credentials", c.servers("1000"), []string{"host/a@" + realm, tgs})
	equal(t, "caches", c.caches(), []string{"1000:other", "1000"})
	equal(t, "UUIDs", c.must(protocol.OpGetCredUUIDList, name("1000")), uuids)
	if got := c.defaultName(); got != "1000:other" {
		t.Errorf("the default is %s", got)
	}
	r.checkStore(1000)
	if got := r.signals.take(); !strings.Contains(got, changed) {
		t.Errorf("signals: %s", got)
	}
}

// Nobody calls the server: it looks at what was stored before its start, and
// nothing of it stays in memory.
func TestTicketsOfThoseWhoDoNotCallAreRenewed(t *testing.T) {
	before := newRig(t, nil)
	for uid := uint32(1000); uid < 1020; uid++ {
		c := before.client(uid)
		c.must(protocol.OpInitialize, name(fmt.Sprint(uid)), princ("alice@"+realm))
		c.must(protocol.OpStore, name(fmt.Sprint(uid)), raw(dueTGT(int(uid))))
	}
	r := before
	r.clock.Store(time.Now().Unix())
	r.kdc = func(_ context.Context, tgt protocol.Credential, _ time.Duration) (protocol.Credential, error) {
		return renewed(tgt), nil
	}
	r.start(withRenewal())
	eventually(t, "all are renewed", func() bool { return r.server.renewing.Summary().Renewed == 20 })
	eventually(t, "none is in memory", func() bool { return r.server.users.resident.Load() == 0 })
	if r.server.MayExit() || r.server.renewing.Summary().Tickets != 20 {
		t.Errorf("may exit %t, %+v", r.server.MayExit(), r.server.renewing.Summary())
	}
}

// While it is not known what is stored, the server must not end for idleness:
// nobody would start it again.
func TestAServerThatDoesNotKnowWhatIsDueDoesNotEnd(t *testing.T) {
	r := newRig(t, nil)
	r.clock.Store(time.Now().Unix())
	r.store.set("owners", errDisk)
	r.start(withRenewal())
	eventually(t, "it has looked in vain", func() bool {
		return strings.Contains(r.logged.String(), "who have not called yet are not looked after")
	})
	if r.server.MayExit() {
		t.Error("it may exit")
	}
	r.store.set("", nil)
	r.start(withRenewal())
	eventually(t, "it may exit", r.server.MayExit)
}

func TestWhatIsNeverRenewed(t *testing.T) {
	r := renewingRig(t, func(context.Context, protocol.Credential, time.Duration) (protocol.Credential, error) {
		t.Error("a KDC is asked")
		return protocol.Credential{}, errDisk
	})
	c := r.client(1000)
	c.must(protocol.OpInitialize, name("1000"), princ("alice@"+realm))
	without := func(change func(*protocol.Credential)) []byte {
		cred := dueTGT(1)
		change(&cred)
		return raw(cred)
	}
	for what, cred := range map[string][]byte{
		"not renewable":     without(func(c *protocol.Credential) { c.TicketFlags = 0 }),
		"without an end":    without(func(c *protocol.Credential) { c.Times.End = 0 }),
		"as long as can be": without(func(c *protocol.Credential) { c.Times.RenewTill = c.Times.End }),
		"a configuration entry": without(func(c *protocol.Credential) {
			c.Server = principalOf("krb5_ccache_conf_data/refresh_time@X-CACHECONF:")
		}),
		"a service":        without(func(c *protocol.Credential) { c.Server = principalOf("host/a@" + realm) }),
		"of another realm": without(func(c *protocol.Credential) { c.Server = principalOf("krbtgt/OTHER@" + realm) }),
		"a realm without end": without(func(c *protocol.Credential) {
			c.Client.Realm = make([]byte, 300)
			c.Server.Realm = c.Client.Realm
			c.Server.Components = [][]byte{[]byte("krbtgt"), c.Client.Realm}
		}),
		"expired":                 without(func(c *protocol.Credential) { c.Times.End = c.Times.Start + 60 }),
		"of a realm that it left": without(func(c *protocol.Credential) { c.Client = principalOf("alice@OTHER") }),
	} {
		c.must(protocol.OpInitialize, name("1000"), princ("alice@"+realm))
		c.must(protocol.OpStore, name("1000"), cred)
		if next, owed := r.server.renewing.Next(); owed {
			t.Errorf("%s: is due at %v", what, next)
		}
	}
}

func TestCachesAreListedWithTheStateOfTheirRenewal(t *testing.T) {
	r := renewingRig(t, func(_ context.Context, tgt protocol.Credential, _ time.Duration) (protocol.Credential, error) {
		return tgt, refusedBy{18}
	})
	c := r.client(1000)
	c.login("1000:x", "bob")
	c.must(protocol.OpInitialize, name("1000"), princ("alice@"+realm))
	c.must(protocol.OpSetKDCOffset, name("1000"), u32(100))
	due := dueTGT(1)
	c.must(protocol.OpStore, name("1000"), raw(due))
	c.must(protocol.OpSetDefaultCache, name("1000:x"))
	list := func() []Listed {
		result, err := r.server.Call(context.Background(), cachesOf, []any{[]uint32{1000}, uint32(0)})
		if err != nil {
			t.Fatal(err)
		}
		return result[0].([]Listed)
	}
	eventually(t, "the KDC has refused", func() bool { return list()[1].LastTry != 0 })
	got := list()
	want := []Listed{
		{UID: 1000, Name: "1000:x", Principal: "bob@" + realm, Default: true, Credentials: 1, Size: got[0].Size, SizeLimit: 64 << 20, Used: got[0].Used, End: startOfTime + 36000},
		{UID: 1000, Name: "1000", Principal: "alice@" + realm, Credentials: 1, Size: got[1].Size, SizeLimit: 64 << 20, Used: got[1].Used, End: int64(due.Times.End) - 100, RenewTill: int64(due.Times.RenewTill) - 100,
			LastTry: got[1].LastTry, Result: "refused with code 18", Code: 18},
	}
	equal(t, "caches", got, want)
	if got[0].Size < 100 {
		t.Errorf("a cache with a ticket has %d bytes", got[0].Size)
	}
	result, err := r.server.Call(context.Background(), cacheOwners, nil)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "owners", result[0].([]uint32), []uint32{1000})
	result, err = r.server.Call(context.Background(), renewalStatus, nil)
	if err != nil || result[0] != true || result[1] != uint32(1) || result[2] != int64(0) || result[3].(map[string]uint64)["refused"] != 1 {
		t.Errorf("%v, %v", result, err)
	}
	eventually(t, "the refusal is in the log", func() bool { // after it is in the list
		got := r.logged.String()
		return strings.Contains(got, "a ticket is not renewed") && strings.Contains(got, "must call kinit before")
	})
	off := newRig(t, nil)
	if result, err := off.server.Call(context.Background(), renewalStatus, nil); err != nil || result[0] != false {
		t.Errorf("where absent is renewed: %v, %v", result, err)
	}
}

type refusedBy struct{ code int32 }

func (e refusedBy) Error() string  { return fmt.Sprintf("refused with code %d", e.code) }
func (e refusedBy) KDCCode() int32 { return e.code }

// rounds is how often the user and the renewal meet in each of the next tests.
const rounds = 1000

// meeting is a KDC that tells when it is asked, and takes a random time.
type meeting struct {
	asked   chan int // the number of the ticket
	answers atomic.Int64
	missed  atomic.Int64 // tickets for which it was not asked
}

func (m *meeting) renew(ctx context.Context, tgt protocol.Credential, _ time.Duration) (protocol.Credential, error) {
	fresh := renewed(tgt)
	var number int
	_, _ = fmt.Sscanf(string(tgt.Ticket), "%d/", &number)
	select {
	case m.asked <- number:
	case <-ctx.Done():
		return tgt, errors.New("nobody waits")
	}
	for range rand.IntN(600) { // some microseconds more or less
		_ = renewed(tgt)
	}
	m.answers.Add(1)
	return fresh, nil
}

// await waits until the KDC is asked for a ticket. One that was overwritten
// never is.
func (m *meeting) await(number int) {
	patience := time.NewTimer(time.Minute) // on a loaded machine, too
	defer patience.Stop()
	for {
		select {
		case n := <-m.asked:
			if n == number {
				return
			}
		case <-patience.C:
			m.missed.Add(1)
			return
		}
	}
}

// TestTheUserWinsOverTheRenewal has a user change a cache while its ticket is
// being renewed, and readers look on. The history of all they saw decides.
func TestTheUserWinsOverTheRenewal(t *testing.T) {
	const cacheName = "1000"
	for what, round := range map[string]func(c *client, m *meeting, h *history, number int){
		"kdestroy": func(c *client, m *meeting, h *history, number int) {
			c.must(protocol.OpInitialize, name(cacheName), princ("alice@"+realm))
			h.write(number, func() { c.must(protocol.OpStore, name(cacheName), raw(dueTGT(number))) })
			m.await(number)
			h.write(absent, func() { c.must(protocol.OpDestroy, name(cacheName)) })
		},
		"kinit": func(c *client, m *meeting, h *history, number int) {
			h.write(absent, func() { c.must(protocol.OpInitialize, name(cacheName), princ("alice@"+realm)) })
			h.write(number, func() { c.must(protocol.OpStore, name(cacheName), raw(dueTGT(number))) })
			m.await(number)
		},
		"kinit of krb5 1.20": func(c *client, m *meeting, h *history, number int) {
			list := protocol.AppendCredentialList(nil, [][]byte{raw(dueTGT(number))})
			h.write(number, func() { c.must(protocol.OpReplace, name(cacheName), u32(0), princ("alice@"+realm), list) })
			m.await(number)
		},
		"a ticket that is stored over it": func(c *client, m *meeting, h *history, number int) {
			// The new ticket takes the place of the one that is being renewed.
			h.write(absent, func() { c.must(protocol.OpInitialize, name(cacheName), princ("alice@"+realm)) })
			h.write(2*number, func() { c.must(protocol.OpStore, name(cacheName), raw(dueTGT(2*number))) })
			m.await(2 * number)
			last := renewed(dueTGT(2*number + 1))
			h.write(2*number+1, func() { c.must(protocol.OpStore, name(cacheName), raw(last)) })
		},
	} {
		t.Run(what, func(t *testing.T) {
			m := &meeting{asked: make(chan int)}
			r := renewingRig(t, m.renew)
			h := &history{}
			writer := r.client(1000)
			stop := make(chan struct{})
			var reading sync.WaitGroup
			for range 2 {
				reader := r.client(1000)
				reading.Go(func() {
					for running := true; running; {
						select {
						case <-stop:
							running = false // after one more look
						default:
						}
						h.read(func() (int, int) { return reader.tgtOf(cacheName) })
					}
				})
			}
			for number := 1; number <= rounds && m.missed.Load() == 0; number++ {
				round(writer, m, h, number)
			}
			close(stop)
			reading.Wait()
			if err := h.check(); err != nil {
				t.Error(err)
			}
			eventually(t, "the KDC has answered the last request", func() bool { return m.answers.Load() >= rounds || m.missed.Load() > 0 })
			sum := r.server.renewing.Summary()
			t.Logf("%d reads, %+v", len(h.reads), sum.Counts)
			if m.answers.Load() < rounds || m.missed.Load() > 0 {
				t.Errorf("the KDC has answered %d times", m.answers.Load())
			}
			r.checkStore(1000)
		})
	}
}

// TestASwitchIsNotUndoneByARenewal has a user switch between two caches while
// the tickets of both are renewed.
func TestASwitchIsNotUndoneByARenewal(t *testing.T) {
	m := &meeting{asked: make(chan int)}
	r := renewingRig(t, m.renew)
	names := [2]string{"1000:0", "1000:1"}
	writer, reader := r.client(1000), r.client(1000)
	for _, n := range names {
		writer.must(protocol.OpInitialize, name(n), princ("alice@"+realm))
	}
	h := &history{}
	h.write(0, func() { writer.must(protocol.OpSetDefaultCache, name(names[0])) })
	stop := make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() {
		for running := true; running; {
			select {
			case <-stop:
				running = false
			default:
			}
			h.read(func() (int, int) { return int(reader.defaultName()[len(names[0])-1] - '0'), 0 })
		}
	})
	for number := 1; number <= rounds && m.missed.Load() == 0; number++ {
		at := number % 2
		writer.must(protocol.OpInitialize, name(names[at]), princ("alice@"+realm))
		writer.must(protocol.OpStore, name(names[at]), raw(dueTGT(number)))
		m.await(number)
		h.write(at, func() { writer.must(protocol.OpSetDefaultCache, name(names[at])) })
	}
	close(stop)
	reading.Wait()
	if err := h.check(); err != nil {
		t.Error(err)
	}
	if m.missed.Load() > 0 {
		t.Error("a ticket that was stored is not renewed")
	}
	equal(t, "caches", writer.caches(), names[:])
	t.Logf("%d reads, %+v", len(h.reads), r.server.renewing.Summary().Counts)
}
