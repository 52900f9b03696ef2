package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Histories are of 16 clients of 8 users, who log in, log out, and look at their
// own caches and each other's, while faults come over the server.
const (
	historyUID     = 41001
	historyUsers   = 8
	historyClients = 16
	historyCaches  = 4 // of each client
	restingCache   = 3 // the one that is seldom written, and so lives over several faults
	restingWrites  = 100
)

// history is the run of all clients at one server.
type history struct {
	*server
	began     time.Time
	registers map[string]*register
	gate      sync.RWMutex // held for writing while the storage changes
	timeline  timeline
	storage   string // of ours
	requests  atomic.Int64
	wrong     atomic.Int64 // by how many nanoseconds the clock of the servers is
	stepped   int          // how often it was
	forward   []step       // when it was stepped forward
	random    *rand.Rand   // of the faults
	stuck     int          // times that the server did not come back by itself
}

// historyRow is what a history came to.
type historyRow struct {
	side               string
	cycles             int
	requests           int64
	inFlight, failures int
	stuck              int
	took               time.Duration
	wrongs
	told []string // the failures, and what came before them
}

func (h *history) now() time.Duration { return time.Since(h.began) }

// runHistories has each side live through so many faults.
func (b *bench) runHistories(cycles int) (failed error) {
	for _, sd := range b.sides {
		if !strings.Contains(sd.name, b.onlySide) {
			continue
		}
		row, err := b.history(sd, cycles)
		if err != nil {
			return fmt.Errorf("%s: %w", sd.name, err)
		}
		fmt.Fprintf(os.Stderr, "%s: %d cycles of seed %d in %v\n", sd.name, cycles, b.seed, row.took.Round(time.Second))
		for _, line := range row.told {
			fmt.Fprintln(os.Stderr, " ", line)
		}
		b.histories = append(b.histories, row)
		if sd.name == "gosssd" && row.count()+row.failures+row.stuck > 0 {
			failed = errors.Join(failed, fmt.Errorf("%s: %d wrong reads (%s), %d failures, %d times not back by itself", sd.name, row.count(), row.First, row.failures, row.stuck))
		}
	}
	return failed
}

// storageConf has expired caches removed as soon as that can be, and whole.
func storageConf(storage string) string {
	return "[kcm]\npurge_expired_credentials_interval = 1\npurge_expired_grace = 0\nccache_storage = " + storage + "\n"
}

func (b *bench) ours(sd *side) bool { return !sd.debian && !sd.heimdal }

func (b *bench) history(sd *side, cycles int) (historyRow, error) {
	o := options{disk: "64m"}
	if b.ours(sd) {
		o.conf, o.clock = storageConf(b.storage), b.clock
	}
	s, err := b.start(sd, o)
	if err != nil {
		return historyRow{}, err
	}
	defer s.stop()
	h := &history{server: s, began: time.Now(), registers: map[string]*register{}, storage: b.storage, random: rand.New(rand.NewPCG(b.seed, 0))}
	for i := range historyClients {
		for n := range historyCaches {
			h.registers[cacheOf(i, n)] = &register{}
		}
	}
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for i := range historyClients {
		clients.Go(func() { h.live(i, stop) })
	}
	faults := h.faults()
	for n := range cycles {
		time.Sleep(time.Duration(20+h.random.IntN(80)) * time.Millisecond)
		faults[(n+h.random.IntN(2))%len(faults)]()
		h.comeBack()
	}
	close(stop)
	clients.Wait()
	killed := h.faults()[0]
	killed()
	h.comeBack()
	for i := range historyClients { // what is left when all is over
		c := h.client(uidOf(i), patience)
		for n := range historyCaches {
			h.look(c, i, n, true)
		}
		_ = c.Close()
	}
	row := historyRow{side: sd.name, cycles: cycles, requests: h.requests.Load(), inFlight: h.timeline.excused, failures: len(h.timeline.failures),
		stuck: h.stuck, took: h.now(), told: h.timeline.explain()}
	for name, r := range h.registers {
		row.add(r.check(name, h.forward))
	}
	return row, nil
}

func uidOf(client int) uint32 { return historyUID + uint32(client%historyUsers) }

func cacheOf(client, n int) string { return fmt.Sprintf("%d:c%d-%d", uidOf(client), client, n) }

// comeBack waits until the server answers, and starts it again if it does not.
func (h *history) comeBack() {
	if h.await(resumeLimit, h.answers) >= 0 {
		return
	}
	h.stuck++
	h.during("started by hand", true, func() {
		_ = h.restart()
		h.await(resumeLimit, h.answers)
	})
}

// live is what one client does.
func (h *history) live(i int, stop <-chan struct{}) {
	c := h.client(uidOf(i), patience)
	defer func() { _ = c.Close() }()
	made := 0
	for {
		select {
		case <-stop:
			return
		default:
		}
		h.gate.RLock()
		n := rand.IntN(historyCaches)
		do := rand.IntN(6)
		if n == restingCache && rand.IntN(restingWrites) > 0 {
			do = max(do, 3)
		}
		switch do {
		case 0, 1:
			made++
			h.write(c, i, n, made)
		case 2:
			h.write(c, i, n, absent)
		case 3, 4:
			h.look(c, i, n, true)
		default: // the caches of the other client of this user
			h.look(c, (i+historyUsers)%historyClients, n, false)
		}
		h.gate.RUnlock()
		time.Sleep(time.Millisecond)
	}
}

func (b *bench) tableOfHistories(t *strings.Builder) {
	fmt.Fprintf(t, "\n## Histories of 16 clients of 8 users, seed %d\n\n", b.seed)
	t.WriteString(
		"| Server | cycles | requests | failed, excused | failed otherwise | not back by itself | acknowledged, lost | half-made | destroyed, back | never written | expired | first finding |\n" +
			"|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|\n")
	for _, r := range b.histories {
		first := r.First
		if first == "" && len(r.told) > 0 {
			first = r.told[0]
		}
		fmt.Fprintf(t, "| %s | %d | %d | %d | %d | %d | %d | %d | %d | %d | %d | %s |\n", r.side, r.cycles, r.requests, r.inFlight, r.failures,
			r.stuck, r.Lost, r.Half, r.Back, r.Unknown, r.Expired, strings.ReplaceAll(first, "|", "/"))
	}
}
