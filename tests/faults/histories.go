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
	historyCaches  = 3 // of each client
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
	random    *rand.Rand // of the faults
	stuck     int        // times that the server did not come back by itself
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
		n := cycles
		if !b.ours(sd) {
			n = min(n, 50) // they tell enough, and each takes them long
		}
		row, err := b.history(sd, n)
		if err != nil {
			return fmt.Errorf("%s: %w", sd.name, err)
		}
		fmt.Fprintf(os.Stderr, "%s: %d cycles of seed %d in %v\n  %s\n", sd.name, n, b.seed, row.took.Round(time.Second), strings.Join(row.told, "\n  "))
		b.histories = append(b.histories, row)
		if sd.name == "gosssd" && row.count()+row.failures+row.stuck > 0 {
			failed = errors.Join(failed, fmt.Errorf("%s: %+v", sd.name, row))
		}
	}
	return failed
}

func storageConf(storage string) string { return "[kcm]\nccache_storage = " + storage + "\n" }

func (b *bench) ours(sd *side) bool { return !sd.debian && !sd.heimdal }

func (b *bench) history(sd *side, cycles int) (historyRow, error) {
	o := options{disk: "64m"}
	if b.ours(sd) {
		o.conf = storageConf(b.storage)
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
		row.add(r.check(name))
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
		switch rand.IntN(6) {
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
	t.WriteString("\n## Histories of 16 clients of 8 users\n\n" +
		"| Server | cycles | requests | failed, excused | failed otherwise | not back by itself | acknowledged, lost | half-made | destroyed, back | never written | first finding |\n" +
		"|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|\n")
	for _, r := range b.histories {
		first := r.First
		if first == "" && len(r.told) > 0 {
			first = r.told[0]
		}
		fmt.Fprintf(t, "| %s | %d | %d | %d | %d | %d | %d | %d | %d | %d | %s |\n", r.side, r.cycles, r.requests, r.inFlight, r.failures,
			r.stuck, r.Lost, r.Half, r.Back, r.Unknown, strings.ReplaceAll(first, "|", "/"))
	}
}
