package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"gosssd/kcm/protocol"
)

// The users of the attacks, ten for each, and one who wants nothing but tickets.
const (
	greedyUser = 20101
	honestUser = 20010
)

// usersOf is the first user of an attack.
func usersOf(key string) uint32 {
	all := slices.Concat(attacks, hostile)
	return greedyUser + 10*uint32(slices.IndexFunc(all, func(a attack) bool { return a.key == key }))
}

// window is how long an attack lasts.
const window = 4 * time.Second

// rest is the time after which memory has been given back.
const rest = 60 * time.Second

// bench is one run.
type bench struct {
	dir  string
	only string

	onlySide string
	cycles   int
	storage  string // of histories
	seed     uint64
	clock    bool

	lasts     time.Duration // the soak
	plot      string
	tests     string
	soak      *soak
	histories []historyRow

	sides []*side

	mu      sync.Mutex
	servers []*server // that have been started
	count   int

	began    time.Time
	load     string // of the machine at the beginning
	attacked []attackRow
	hostiles []*hostileRow
	reloads  []reloadRow
	faults   []faultRow
}

type attackRow struct {
	attack attack
	side   string
	report
}

// reloadRow is how a server came back with what the attackers had stored.
type reloadRow struct {
	side                   string
	kcmBefore, kcmAfter    int64 // resident, after all attacks and after the rest
	secBefore, secAfter    int64
	saw                    string
	kcmReloaded, secLoaded int64 // most memory when all is read from disk again
}

func (r *reloadRow) before(kcm, secrets resident) {
	r.kcmBefore, r.secBefore = kcm.all(), secrets.all()
}
func (r *reloadRow) after(kcm, secrets resident) { r.kcmAfter, r.secAfter = kcm.all(), secrets.all() }

// start starts a server of one side in a directory of its own.
func (b *bench) start(sd *side, o options) (*server, error) {
	b.mu.Lock()
	b.count++
	dir := filepath.Join(b.dir, fmt.Sprint(b.count))
	b.mu.Unlock()
	s, err := sd.start(dir, o)
	if err == nil {
		b.mu.Lock()
		b.servers = append(b.servers, s)
		b.mu.Unlock()
	}
	return s, err
}

func (b *bench) stopAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.servers {
		s.stop()
		_ = syscall.Unmount(s.data(), syscall.MNT_DETACH) // of those that have a small disk
	}
}

func (b *bench) run(parts string) error {
	b.began = time.Now()
	load, _ := os.ReadFile("/proc/loadavg")
	b.load = strings.Join(strings.Fields(string(load))[:3], " ")
	var attacked []*server
	var failed error
	if strings.Contains(parts, "attacks") {
		for _, sd := range b.sides {
			if sd.heimdal {
				continue
			}
			s, err := b.start(sd, options{})
			if err != nil {
				return err
			}
			attacked = append(attacked, s)
		}
		failed = b.runAttacks(attacked)
	}
	if strings.Contains(parts, "histories") {
		failed = errors.Join(failed, b.runHistories(b.cycles))
	}
	if strings.Contains(parts, "soak") {
		failed = errors.Join(failed, b.runSoak(b.lasts, b.plot))
	}
	if strings.Contains(parts, "hostile") {
		failed = errors.Join(failed, b.runHostile())
	}
	rested := time.After(rest)
	if strings.Contains(parts, "faults") {
		failed = errors.Join(failed, b.runFaults())
	}
	if len(attacked) > 0 && b.only == "" {
		<-rested
		for i := range b.reloads {
			b.reload(attacked[i], &b.reloads[i])
		}
	}
	return failed
}

// runAttacks lays each attack on each server in turn.
func (b *bench) runAttacks(servers []*server) (failed error) {
	for _, a := range attacks {
		if !strings.Contains(a.name, b.only) {
			continue
		}
		for _, s := range servers {
			r, err := b.attack(s, a)
			if err != nil { // the others are of use all the same
				failed = errors.Join(failed, fmt.Errorf("%s, %s: %w", a.name, s.name, err))
				continue
			}
			fmt.Fprintf(os.Stderr, "%s, %s: %+v\n", a.name, s.name, r)
			b.attacked = append(b.attacked, attackRow{a, s.name, r})
			if took := s.await(30*time.Second, s.answers); took < 0 {
				fmt.Fprintf(os.Stderr, "%s does not answer after it and is started again\n", s.name)
				if err := s.restart(); err != nil {
					return err
				}
			}
		}
	}
	for _, s := range servers {
		row := reloadRow{side: s.name}
		row.before(s.resident())
		b.reloads = append(b.reloads, row)
	}
	return failed
}

func (b *bench) attack(s *server, a attack) (report, error) {
	t := task{Do: a.key, Socket: s.socket()}
	if !s.debian && !s.heimdal {
		t.Secrets = s.dir + "/var/run/secrets.socket"
	}
	var watched report
	var watching sync.WaitGroup
	stop := make(chan struct{})
	before := len(s.log(0))
	watching.Go(func() { s.watch(stop, &watched) })
	var attackers []*worker
	for i := range max(1, a.users) {
		if a.key == "quiet" {
			break
		}
		w, err := hire(usersOf(a.key)+uint32(i), t)
		if err != nil {
			return report{}, err
		}
		attackers = append(attackers, w)
	}
	if a.users > 0 {
		time.Sleep(window / 4) // until they are all connected
	}
	honest, err := hire(honestUser, task{Socket: t.Socket, Fresh: a.fresh, OneByOne: s.heimdal})
	if err != nil {
		return report{}, err
	}
	time.Sleep(window)
	r, err := honest.finish()
	for _, w := range attackers {
		theirs, failed := w.finish()
		r.Attacker, err = theirs.Attacker, errors.Join(err, failed)
	}
	close(stop)
	watching.Wait()
	r.KCM, r.Secrets, r.Stopped, r.LogSize = watched.KCM, watched.Secrets, watched.Stopped, int64(len(s.log(0))-before)
	return r, err
}

// reload looks at what a server has after a minute of rest, kills it, and lets
// the greedy user read what he has.
func (b *bench) reload(s *server, row *reloadRow) {
	row.after(s.resident())
	s.kill()
	var r report
	var watching sync.WaitGroup
	stop := make(chan struct{})
	watching.Go(func() { s.watch(stop, &r) })
	uid := usersOf("quota")
	c := s.client(uid, patience)
	defer c.Close()
	begin := time.Now()
	_, err := c.Call(protocol.OpGetCredList, protocol.AppendName(nil, fmt.Sprintf("%d:1", uid)))
	row.saw = fmt.Sprintf("%s in %v", words(err), time.Since(begin).Round(10*time.Millisecond))
	close(stop)
	watching.Wait()
	row.kcmReloaded, row.secLoaded = r.KCM, r.Secrets
	if r.Stopped {
		row.saw += ", stopped above 3 GiB"
	}
}
