package responder

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"gosssd/confdb"
	"gosssd/responder/log"
)

func TestOptionsHaveSSSDsFloors(t *testing.T) {
	schema := confdb.Schema{{Name: "x", Options: ServiceOptions()}}
	for name, c := range map[string]struct {
		client, responder         string
		wantClient, wantResponder time.Duration
	}{
		"nothing set":                    {"", "", 300 * time.Second, 300 * time.Second},
		"below the floors":               {"1", "1", 10 * time.Second, 60 * time.Second},
		"a responder that never ends":    {"", "0", 300 * time.Second, 0},
		"above the floors as they stand": {"11", "61", 11 * time.Second, 61 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			conf, err := confdb.NewSnapshot(schema, map[string]map[string]string{
				"x": {"client_idle_timeout": c.client, "responder_idle_timeout": c.responder},
			})
			if err != nil {
				t.Fatal(err)
			}
			got := limitsOf(conf.Section("x"))
			if want := (limits{c.wantClient, c.wantResponder}); got != want {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestAnOptionOfAResponderTakesThePlaceOfTheGeneralOne(t *testing.T) {
	d := Descriptor{Name: "x", Sections: []confdb.Section{{Name: "x", Options: []confdb.Option{
		{Key: "client_idle_timeout", Kind: confdb.Int, Default: "0", Min: 10, ZeroToo: true, Clamp: true},
	}}}}
	for text, want := range map[string]time.Duration{"": 0, "0": 0, "5": 10 * time.Second, "20": 20 * time.Second} {
		conf, err := confdb.NewSnapshot(d.schema(), map[string]map[string]string{"x": {"client_idle_timeout": text}})
		if err != nil {
			t.Fatal(err)
		}
		if got := limitsOf(conf.Section("x")); got.clientIdle != want || got.responderIdle != 300*time.Second {
			t.Errorf("client_idle_timeout = %q is %v", text, got)
		}
	}
}

func TestIdleClientsAreClosedAndBusyOnesAreNot(t *testing.T) {
	h := serveEcho(t, limits{clientIdle: time.Hour})
	c := dial(t, h.path)
	say(t, c, "hello")
	hear(t, c)
	h.closeIdle(time.Since(started))
	say(t, c, "still there")
	hear(t, c)
	h.closeIdle(time.Since(started) + 2*time.Hour)
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("an idle client reads %v, want EOF", err)
	}
}

// A responder that was started by hand ends by hand, but closes idle clients
// as any other.
func TestIdleClientsAreClosedAlsoWhereTheResponderStays(t *testing.T) {
	h := serveEcho(t, limits{clientIdle: time.Millisecond, responderIdle: time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan bool, 1)
	go func() { ended <- h.watchIdle(ctx, false) }()
	if _, err := dial(t, h.path).Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("an idle client reads %v, want EOF", err)
	}
	cancel()
	if <-ended {
		t.Error("the responder ends")
	}
}

// countingMayExit counts how often it is looked at.
type countingMayExit struct {
	echo
	looks *int
}

func (h countingMayExit) MayExit() bool { *h.looks++; return *h.looks > 3 }

func TestWatchingIdlenessWakesWhenALimitIsReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		s := newServer(nil, countingMayExit{looks: &looks}, log.Discard(), 100, limits{clientIdle: 5 * time.Minute, responderIdle: 5 * time.Minute})
		begin := time.Now()
		s.activity.Store(int64(begin.Sub(started)))
		if !s.watchIdle(t.Context(), true) {
			t.Error("it does not end")
		}
		if passed := time.Since(begin); looks != 4 || passed != 20*time.Minute {
			t.Errorf("looked %d times in %v, want 4 times in 20 minutes", looks, passed)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.watchIdle(t.Context(), true)
		}()
		s.setLimits(limits{})
		synctest.Wait()
		time.Sleep(24 * time.Hour)
		s.setLimits(limits{responderIdle: time.Minute})
		<-done
	})
}
