package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"gosssd/kcm/client"
	"gosssd/kcm/protocol"
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
	excused   excuses
	storage   string // of ours
	requests  atomic.Int64

	mu       sync.Mutex
	failures int    // of requests that were in flight in no killed process, on no full disk
	first    string // failure
	inFlight int
	stuck    int // times that the server did not come back by itself
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
	firstFailure string
}

// excuses are the times in which requests may fail.
type excuses struct {
	mu  sync.Mutex
	all []step
}

// during notes the time that f takes.
func (x *excuses) during(h *history, f func()) {
	x.mu.Lock()
	i := len(x.all)
	x.all = append(x.all, step{Begin: h.now(), End: 1 << 62})
	x.mu.Unlock()
	f()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.all[i].End = h.now()
}

func (x *excuses) cover(begin, end time.Duration) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, e := range x.all {
		if begin <= e.End && e.Begin <= end {
			return true
		}
	}
	return false
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
		fmt.Fprintf(os.Stderr, "%+v\n", row)
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
	h := &history{server: s, began: time.Now(), registers: map[string]*register{}, storage: b.storage}
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
		time.Sleep(time.Duration(20+rand.IntN(80)) * time.Millisecond)
		faults[(n+rand.IntN(2))%len(faults)]()
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
	row := historyRow{side: sd.name, cycles: cycles, requests: h.requests.Load(), inFlight: h.inFlight, failures: h.failures,
		stuck: h.stuck, took: h.now(), firstFailure: h.first}
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
	h.mu.Lock()
	h.stuck++
	h.mu.Unlock()
	h.excused.during(h, func() {
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

// write logs in or out.
func (h *history) write(c *client.Client, i, n, value int) {
	name := cacheOf(i, n)
	s := step{Value: value, Begin: h.now()}
	var err error
	if value == absent {
		_, err = c.Call(protocol.OpDestroy, protocol.AppendName(nil, name))
		if isAbsent(err) {
			err = nil
		}
	} else {
		err = h.login(c, name, value)
	}
	s.End = h.now()
	s.Unsure = err != nil
	h.registers[name].wrote(s)
	h.judge(c, s, err)
}

// login makes a cache by REPLACE, or where the server lacks that as an older
// libkrb5 does.
func (h *history) login(c *client.Client, name string, value int) error {
	if !h.debian && !h.heimdal {
		var list [][]byte
		for t := range tickets(value) {
			list = append(list, protocol.AppendCredential(nil, numbered(value, t)))
		}
		b := append(protocol.AppendName(nil, name), 0, 0, 0, 0)
		_, err := c.Call(protocol.OpReplace, protocol.AppendCredentialList(protocol.AppendPrincipal(b, principal("g")), list))
		return err
	}
	err := c.Initialize(name, principal("g"))
	for t := range tickets(value) {
		if err == nil {
			err = c.Store(name, numbered(value, t))
		}
	}
	return err
}

// tickets is how many tickets a login brings.
func tickets(value int) int { return 1 + value%4 }

func numbered(value, t int) protocol.Credential {
	cred := ticket(fmt.Sprint("host", t), 0)
	cred.Ticket = append(fmt.Appendf(nil, "%d ", value), make([]byte, 400*t)...)
	return cred
}

// look reads a cache, as its writer or as the other client of its user.
func (h *history) look(c *client.Client, i, n int, writer bool) {
	name := cacheOf(i, n)
	s := step{Begin: h.now()}
	list, err := h.list(c, name)
	s.End = h.now()
	if isAbsent(err) {
		list, err = nil, nil
	}
	if h.judge(c, s, err); err != nil {
		return
	}
	if s.Value = valueOf(list); s.Value == half && !writer && (h.debian || h.heimdal) {
		return // without REPLACE a login under way is seen
	}
	h.registers[name].saw(s, writer)
}

func (h *history) list(c *client.Client, name string) ([]protocol.Credential, error) {
	if !h.heimdal {
		return c.Credentials(name)
	}
	ids, err := c.Call(protocol.OpGetCredUUIDList, protocol.AppendName(nil, name))
	var list []protocol.Credential
	for ids = bytes.Clone(ids); err == nil && len(ids) >= 16; ids = ids[16:] {
		var b []byte
		if b, err = c.Call(protocol.OpGetCredByUUID, protocol.AppendName(nil, name), ids[:16]); err == nil {
			r := protocol.NewReader(b)
			list = append(list, r.Credential())
		}
	}
	return list, err
}

// valueOf is the login that all tickets of a cache are of.
func valueOf(list []protocol.Credential) int {
	value := absent
	for _, cred := range list {
		var of int
		_, _ = fmt.Sscan(string(cred.Ticket), &of)
		if value != absent && of != value {
			return half
		}
		value = of
	}
	if value != absent && len(list) != tickets(value) {
		return half
	}
	return value
}

func isAbsent(err error) bool {
	var refused *client.Error
	if !errors.As(err, &refused) {
		return false
	}
	switch refused.Code {
	case protocol.NoFile, protocol.NotFound, protocol.End:
		return true
	}
	return false
}

// judge counts a failure, and whether something excuses it.
func (h *history) judge(c *client.Client, s step, err error) {
	h.requests.Add(1)
	if err == nil {
		return
	}
	var refused *client.Error
	if !errors.As(err, &refused) {
		_ = c.Close()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.excused.cover(s.Begin, s.End) {
		h.inFlight++
		return
	}
	if h.failures++; h.first == "" {
		h.first = fmt.Sprintf("at %v, after %v: %s", s.End, s.End-s.Begin, words(err))
	}
}

// faults are what comes over a server, in turn.
func (h *history) faults() []func() {
	killed := func(program string, signal syscall.Signal) func() {
		return func() {
			pid := h.pid(program)
			h.excused.during(h, func() {
				h.signal(program, signal)
				h.await(20*time.Second, func() error {
					if pid != 0 && syscall.Kill(pid, 0) == nil {
						return errors.New("not gone") // its connections may still be open
					}
					return nil
				})
			})
		}
	}
	stopped := func(program string) func() {
		return func() {
			h.signal(program, syscall.SIGSTOP)
			time.Sleep(300 * time.Millisecond)
			h.signal(program, syscall.SIGCONT)
		}
	}
	all := []func(){killed("sssd_kcm", syscall.SIGKILL), stopped("sssd_kcm")}
	if !h.debian && h.storage == "memory" {
		return all
	}
	if h.heimdal {
		all[0] = func() { h.excused.during(h, func() { _ = h.restart(); h.await(resumeLimit, h.answers) }) }
		return all
	}
	all = append(all, h.fullDisk)
	if h.debian {
		return append(all, killed("sssd_kcm", syscall.SIGTERM))
	}
	return append(all, killed("sssd_secrets", syscall.SIGKILL), stopped("sssd_secrets"), h.restarted, h.moved, h.monitorKilled)
}

func (h *history) fullDisk() {
	filler := h.data() + "/filler"
	h.excused.during(h, func() {
		_ = fillDisk(filler)
		time.Sleep(200 * time.Millisecond)
		_ = os.Remove(filler)
	})
}

// restarted is the restart that loses no request.
func (h *history) restarted() { h.sssctl("restart") }

// moved has the caches in another storage. Clients wait meanwhile, since
// caches stay where they are until sssctl moves them.
func (h *history) moved() {
	h.gate.Lock()
	defer h.gate.Unlock()
	from := h.storage
	h.storage = map[string]string{"secrets": "secdb", "secdb": "secrets"}[from]
	if err := os.WriteFile(h.dir+"/etc/sssd/sssd.conf", []byte(storageConf(h.storage)), 0o600); err != nil {
		h.complain("the storage cannot be changed", err)
	}
	h.sssctl("restart")
	h.sssctl("ccache", "move", from)
}

func (h *history) sssctl(words ...string) {
	out, err := exec.Command(filepath.Join(h.bin, "sssctl"), append([]string{"--root", h.dir}, words...)...).CombinedOutput()
	if err != nil {
		h.complain("sssctl "+strings.Join(words, " ")+": "+strings.TrimSpace(string(out)), err)
	}
}

func (h *history) complain(what string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failures++; h.first == "" {
		h.first = fmt.Sprintf("at %v: %s: %v", h.now(), what, err)
	}
}

// monitorKilled kills sssd, which no request depends on, and starts it again. Until
// it stands a responder that is killed would have nobody to start it, so that is
// waited for.
func (h *history) monitorKilled() {
	_ = h.process.Process.Kill()
	<-h.ended
	if err := h.startOurs(); err != nil {
		h.complain("sssd cannot be started again", err)
	}
	stands := func() error {
		return exec.Command(filepath.Join(h.bin, "sssctl"), "--root", h.dir, "status").Run()
	}
	if h.await(resumeLimit, stands) < 0 {
		h.complain("sssd does not stand again", stands())
	}
}

func (b *bench) tableOfHistories(t *strings.Builder) {
	t.WriteString("\n## Histories of 16 clients of 8 users\n\n" +
		"| Server | cycles | requests | failed, excused | failed otherwise | not back by itself | acknowledged, lost | half-made | destroyed, back | never written | first finding |\n" +
		"|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|\n")
	for _, r := range b.histories {
		first := r.First
		if first == "" {
			first = r.firstFailure
		}
		fmt.Fprintf(t, "| %s | %d | %d | %d | %d | %d | %d | %d | %d | %d | %s |\n", r.side, r.cycles, r.requests, r.inFlight, r.failures,
			r.stuck, r.Lost, r.Half, r.Back, r.Unknown, strings.ReplaceAll(first, "|", "/"))
	}
}
