package kcm

import (
	"context"
	"strings"
	"testing"
	"time"

	"gosssd/kcm/protocol"
	"gosssd/responder/log"
	"gosssd/responder/metric"
)

const purgeInterval = 10 * time.Minute

// tick lets an interval pass and purges.
func (r *rig) tick() {
	r.pass(purgeInterval)
	r.server.purgeExpired(context.Background())
}

func TestAStepOfTheWallClockErasesNothing(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	c.lasting("1000:a", "alice", 36000)
	c.lasting("1000:b", "bob", 36000)
	c.lasting("1000:c", "carol", 1500)
	r.tick()
	r.step(48 * time.Hour)
	r.tick() // the third interval is the last with the wrong time
	r.tick()
	if !strings.Contains(r.logged.String(), "stepped forward") {
		t.Errorf("the log does not tell of the step: %s", r.logged)
	}
	r.step(-48 * time.Hour)
	r.tick()
	equal(t, "caches", c.caches(), []string{"1000:a", "1000:b", "1000:c"})
	equal(t, "credentials", c.servers("1000:b"), []string{tgs})
	if got := r.logged.String(); !strings.Contains(got, "believed again") {
		t.Errorf("the log does not tell that the doubt is over: %s", got)
	}
}

func TestTimeGoesOnWhileTheWallClockIsInDoubt(t *testing.T) {
	r := newRig(t, conf{"purge_expired_grace": "0"})
	c := r.client(1000)
	c.lasting("1000:a", "alice", 36000)
	c.lasting("1000:b", "bob", 500)
	c.lasting("1000:c", "carol", 36000)
	r.step(48 * time.Hour)
	r.tick()
	equal(t, "caches", c.caches(), []string{"1000:a", "1000:c"})
}

func TestAWallClockThatKeepsStepIsBelieved(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	c.lasting("1000:a", "alice", 36000)
	c.lasting("1000:b", "bob", 36000)
	r.tick()
	r.step(48 * time.Hour)
	for range confirmations {
		r.tick()
		equal(t, "caches", c.caches(), []string{"1000:a", "1000:b"})
	}
	r.tick()
	equal(t, "caches", c.caches(), []string{"1000:a"})
	equal(t, "credentials of the default", c.servers("1000:a"), nil)
}

func TestAStartBelievesTheWallClockAfterAnInterval(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	c.lasting("1000:a", "alice", 36000)
	c.lasting("1000:b", "bob", 36000)
	r.pass(48 * time.Hour)
	r.server.clock.fresh = true
	r.server.clock.since = r.server.clock.monotonic()
	r.server.purgeExpired(context.Background())
	equal(t, "caches", c.caches(), []string{"1000:a", "1000:b"})
	r.tick()
	equal(t, "caches", c.caches(), []string{"1000:a"})
}

func TestAStepMakesNoRoom(t *testing.T) {
	r := newRig(t, conf{"max_uid_ccaches": "2"})
	c := r.client(1000)
	c.lasting("1000:a", "alice", 36000)
	c.lasting("1000:b", "bob", 36000)
	r.step(48 * time.Hour)
	c.refused(protocol.Quota, protocol.OpInitialize, name("1000:c"), princ("carol@"+realm))
	equal(t, "caches", c.caches(), []string{"1000:a", "1000:b"})
}

func TestAPurgeSaysWhatItRemoves(t *testing.T) {
	r := newRig(t, conf{"purge_expired_grace": "0"})
	r.server.users.log.SetMask(log.Mask(4))
	c := r.client(1000)
	c.lasting("1000:a", "alice", 36000)
	c.lasting("1000:b", "bob", 100)
	c.lasting("1000:c", "carol", 100)
	c.stock("1000:d", "dave", map[string]int{krbtgt: 36000, "host/a": 100, "host/b": 100})
	r.tick()
	logged := r.logged.String()
	const want = "purge: uid=1000 why=expired caches=2 credentials=2 principals=bob@EXAMPLE.ORG,carol@EXAMPLE.ORG,dave@EXAMPLE.ORG"
	if !strings.Contains(logged, want) || strings.Count(logged, "purge:") != 1 {
		t.Errorf("the log is\n%s\nwant one line\n%s", logged, want)
	}
	counters := metric.Words(r.server.Metrics())
	if counters["purged caches"] != 2 || counters["purged credentials"] != 2 {
		t.Errorf("counters are %v", counters)
	}
}
