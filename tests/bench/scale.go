package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gosssd/kcm/protocol"
)

// A machine with so many users, of cachesEach caches each, is large.
const (
	scaleUsers   = 10_000
	scaleUID     = 100_001
	scaleClients = 16
	scatterEach  = 100 // users of whom one client of scatter has connections
)

// Nothing is purged until it is to be measured: the tickets of the many are over
// from the beginning.
const (
	neverPurge = "purge_expired_credentials_interval = 0\n"
	soonPurge  = "purge_expired_credentials_interval = 5\npurge_expired_grace = 0\n"
)

// populating makes the caches of one user after another. It runs as root.
func populating(c *client) (func() error, error) {
	over := protocol.Credential{
		Client: alice, Server: principal("krbtgt", realm), Key: protocol.Keyblock{Enctype: 18, Key: make([]byte, 32)},
		Times: protocol.Times{Auth: 1, Start: 1, End: 1000}, Ticket: make([]byte, 1000),
	}
	ticket := protocol.AppendCredential(nil, over)
	return func() error {
		uid := scaleUID + c.task.Client + scaleClients*c.number
		c.number++
		c.close()
		if err := connectAs(c.conn, uid); err != nil {
			return err
		}
		for i := range cachesEach {
			if err := c.all(replace(fmt.Sprintf("%d:%d", uid, i), ticket)); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// scattering stores a ticket for one user of many after another, in any order.
// So what is brought into the database lies all over it.
func scattering(c *client) (func() error, error) {
	var users []*client
	for i := range scatterEach {
		uid := scaleUID + c.task.Client + scaleClients*i
		one := &client{conn: newConn(c.task.Socket, false), task: c.task, cache: fmt.Sprintf("%d:%d", uid, i%cachesEach)}
		if err := connectAs(one.conn, uid); err != nil {
			return nil, err
		}
		users = append(users, one)
	}
	return func() error {
		c.number++
		one := users[rand.IntN(len(users))]
		return one.all(store(one.cache, ticket(c.number%10)))
	}, nil
}

// scale measures servers that have very many caches.
func (b *bench) scale() error {
	if os.Getuid() != 0 {
		return errors.New("needs root, for clients of many users")
	}
	for _, s := range b.servers {
		if !s.own || !s.durable {
			continue
		}
		if err := b.scaleOf(s); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

func (b *bench) scaleOf(s *server) error {
	if err := s.startAnew(neverPurge); err != nil {
		return err
	}
	m := load{scenario: "populate", clients: scaleClients, root: true}.run(b.self, s.path(), 0, scaleUsers/scaleClients-warmUp, nil)
	if m.failed != nil {
		return m.failed
	}
	b.note("caches made per s", s.name, m.rate*cachesEach)
	b.noteSize(s, "with all in memory")
	if err := b.scaleStores(s); err != nil {
		return err
	}
	s.stop()
	if err := s.forgetPages(); err != nil {
		return err
	}
	if err := s.start(s.dir); err != nil {
		return err
	}
	b.note("start to first answer, the file read from disk, ms", s.name, milliseconds(s.ready))
	if err := b.coldReads(s); err != nil {
		return err
	}
	b.noteSize(s, "after a start and 500 cold reads")
	if err := b.purgeAll(s); err != nil {
		return err
	}
	if err := s.startAnew(neverPurge); err != nil { // which makes the file smaller
		return err
	}
	b.noteSize(s, "after the purge and a start")
	s.conf = ""
	return nil
}

// scaleStores measures how long stores wait, most of all those that meet the
// bringing of the journal into the database.
func (b *bench) scaleStores(s *server) error {
	loads := []load{
		{scenario: "store", clients: 1, users: true}, {scenario: "store", clients: 4, users: true},
		{scenario: "store", clients: 16, users: true},
		{scenario: "scatter", clients: 1, root: true}, {scenario: "scatter", clients: scaleClients, root: true},
	}
	for _, l := range loads {
		own, bare, rate := histogram{}, histogram{}, 0.0
		for range scaleRounds {
			m := l.run(b.self, s.path(), time.Duration(b.pick(1, 4))*time.Second, 0, nil)
			m.failed = errors.Join(m.failed, b.bareWrites(time.Second, bare))
			if m.failed != nil {
				return fmt.Errorf("%s: %w", l.name(), m.failed)
			}
			own.merge(m.times)
			rate += m.rate / scaleRounds
		}
		b.note(l.name()+", per s", s.name, rate)
		b.noteWaits(l.name(), s.name, own)
		b.noteWaits(l.name(), diskBeside(s), bare)
	}
	return nil
}

// scaleRounds are those of a load, each with a round of bare writes behind it: the
// disk of a machine is not the same a minute later.
const scaleRounds = 5

// diskBeside is the column of what the bare disk did while a server was measured.
func diskBeside(s *server) string { return "disk beside " + s.name }

// bareWrites adds the times of writes of a ticket's size and their flushes,
// which no server makes.
func (b *bench) bareWrites(d time.Duration, times histogram) error {
	m := load{scenario: "overwrite", clients: 1, root: true}.run(b.self, b.dir, d, 0, nil)
	times.merge(m.times)
	return m.failed
}

func (b *bench) noteWaits(what, column string, times histogram) {
	for _, p := range []float64{50, 99, 99.75, 99.9, 100} {
		b.note(fmt.Sprintf("%s, p%v, ms", what, p), column, milliseconds(times.percentile(p)))
	}
}

// coldReads lets users come that the server has not seen since its start.
func (b *bench) coldReads(s *server) error {
	times := histogram{}
	for i := range 500 {
		uid := scaleUID + (i*7919)%scaleUsers
		c := &client{conn: newConn(s.path(), false), cache: fmt.Sprintf("%d:0", uid)}
		begin := time.Now()
		if err := connectAs(c.conn, uid); err != nil {
			return err
		}
		err := c.all(frame(protocol.OpGetDefaultCache), frame(protocol.OpGetPrincipal, name(c.cache)), frame(protocol.OpGetCredList, name(c.cache)))
		times.add(time.Since(begin))
		c.close()
		if err != nil {
			return err
		}
		if i == 0 {
			b.note("first cold read of one user, ms", s.name, milliseconds(times.percentile(100)))
		}
	}
	b.noteWaits("cold read of one user", s.name, times)
	return nil
}

// purgeAll starts the server with a purge that is due at once, and stores all
// the while.
func (b *bench) purgeAll(s *server) error {
	if err := s.startAnew(soonPurge); err != nil {
		return err
	}
	// The default cache of a user is emptied, and counts as one that went.
	const all = scaleUsers * cachesEach
	type waits struct{ own, bare histogram }
	before, during := waits{histogram{}, histogram{}}, waits{histogram{}, histogram{}}
	var began time.Time
	var most float64
	for deadline := time.Now().Add(5 * time.Minute); ; {
		now := &before
		if !began.IsZero() {
			now = &during
		}
		m := load{scenario: "store", clients: 4, users: true}.run(b.self, s.path(), 400*time.Millisecond, 0, nil)
		if err := errors.Join(m.failed, b.bareWrites(100*time.Millisecond, now.bare)); err != nil {
			return err
		}
		most = max(most, s.memory())
		gone, err := s.purged(b.bin)
		switch {
		case err != nil:
			return err
		case gone > 0 && began.IsZero():
			began, now = time.Now().Add(-500*time.Millisecond), &during
		}
		now.own.merge(m.times)
		if gone >= all {
			b.note("purge of all, s", s.name, time.Since(began).Seconds())
			b.note("memory while all is purged, at most, MiB", s.name, most)
			for i, when := range []string{"before the purge", "while all is purged"} {
				w := []waits{before, during}[i]
				b.noteWaits("store, 4 clients, "+when, s.name, w.own)
				b.noteWaits("store, 4 clients, "+when, diskBeside(s), w.bare)
			}
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d caches are purged after five minutes", gone, all)
		}
	}
}

// purged is how many caches the server says that it has purged.
func (s *server) purged(bin string) (int, error) {
	out, err := exec.Command(filepath.Join(bin, "sssctl"), "metrics", "--root", s.dir).Output()
	if err != nil {
		return 0, fmt.Errorf("sssctl metrics: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		if n, is := strings.CutPrefix(line, "gosssd_kcm_purged_caches_total "); is {
			return strconv.Atoi(strings.TrimSpace(n))
		}
	}
	return 0, errors.New("sssctl metrics tells of no purged caches")
}

func (b *bench) noteSize(s *server, when string) {
	b.note("memory of sssd_kcm "+when+", MiB", s.name, s.memory())
	if pids := s.processes(); len(pids) > 1 && s.name == ourDefault {
		b.note("memory of sssd_secrets "+when+", MiB", s.name, residentMiB(pids[1]))
	}
	var size int64
	for _, file := range s.databases() {
		if info, err := os.Stat(file); err == nil {
			size += info.Size()
		}
	}
	b.note("files "+when+", MiB", s.name, float64(size)/(1<<20))
}

func (s *server) databases() []string {
	files, _ := filepath.Glob(filepath.Join(s.dir, "var/lib/sss/secrets/*.db*"))
	return slices.DeleteFunc(files, func(f string) bool { return strings.Contains(f, ".mkey") })
}

// forgetPages has the system read the databases from the disk again.
func (s *server) forgetPages() error {
	for _, path := range s.databases() {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		err = errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Close())
		if err != nil {
			return err
		}
	}
	return nil
}

// startAnew ends the server and starts it where it was, with more lines in
// section kcm.
func (s *server) startAnew(lines string) error {
	s.stop()
	s.conf = "[kcm]\n" + lines
	return s.start(s.dir)
}
