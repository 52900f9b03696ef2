package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"gosssd/kcm/protocol"
)

// rounds are many and short: how fast two processes talk that do nothing else
// depends most on which processors they were given, and each round asks anew.
func (b *bench) rounds() int { return b.pick(5, 7) }

// loads measures what clients do all day, all servers in turn.
func (b *bench) loads() error {
	for _, l := range b.allLoads() {
		for range b.rounds() {
			for _, s := range b.servers {
				if s.name == "limit" && l.scenario != "read" || l.scenario == "replace" && !s.replace {
					continue
				}
				m := l.run(b.self, s.path(), b.duration(), 0, nil)
				if m.failed != nil {
					return fmt.Errorf("%s at %s: %w", l.name(), s.name, m.failed)
				}
				b.note(l.name()+", per s", s.name, m.rate)
				b.note(l.name()+", p50 µs", s.name, microseconds(m.times.percentile(50)))
				b.note(l.name()+", p99 µs", s.name, microseconds(m.times.percentile(99)))
			}
			if l.scenario == "store" {
				if err := b.compareWithDisk(l); err != nil {
					return err
				}
			}
		}
	}
	for _, s := range b.servers {
		b.note("memory after the load, MiB", s.name, s.memory())
	}
	return nil
}

// bareDisk measures what one writer reaches who does nothing else.
func (b *bench) bareDisk() error {
	for _, scenario := range diskScenarios {
		bare := load{scenario: scenario, clients: 1, root: true}
		m := bare.run(b.self, b.dir, b.duration(), 0, nil)
		if m.failed != nil {
			return m.failed
		}
		b.note(diskRow(scenario), "disk", m.rate)
	}
	return nil
}

// compareWithDisk notes the latest rates of a load as ratios to those of the
// bare disk, which is measured now.
func (b *bench) compareWithDisk(l load) error {
	if err := b.bareDisk(); err != nil {
		return err
	}
	for _, scenario := range diskScenarios {
		bare := b.latest(diskRow(scenario), "disk")
		for _, s := range b.servers {
			if rate := b.latest(l.name()+", per s", s.name); s.durable && rate > 0 {
				b.note(l.name()+", × "+scenario, s.name, rate/bare)
			}
		}
	}
	return nil
}

var diskScenarios = []string{"append", "overwrite"}

func diskRow(scenario string) string { return scenario + " and fdatasync, per s" }

func microseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

func (b *bench) duration() time.Duration {
	return time.Duration(b.pick(200, 1000)) * time.Millisecond
}

func (b *bench) allLoads() []load {
	var all []load
	for _, scenario := range []string{"read", "store", "login", "replace"} {
		for _, clients := range []int{1, 4, 16} {
			all = append(all, load{scenario: scenario, clients: clients, users: true})
		}
	}
	return append(all,
		load{scenario: "read", clients: 16},
		load{scenario: "read", clients: 4, users: true, fresh: true},
		load{scenario: "store", clients: 16},
		load{scenario: "mixed", clients: 4, users: true},
	)
}

func (l load) name() string {
	who := fmt.Sprintf("%s, %d clients", l.scenario, l.clients)
	switch {
	case l.clients == 1:
		who = l.scenario + ", 1 client"
	case !l.users && !l.root:
		who += " of one user"
	}
	if l.fresh {
		who += ", a connection each request"
	}
	return who
}

// systemCalls counts what a request costs the server in system calls and
// flushes of the disk.
func (b *bench) systemCalls() error {
	for _, s := range b.servers {
		const steps = 50
		for _, scenario := range []string{"read", "store", "login", "replace"} {
			if s.name == "limit" && scenario != "read" || scenario == "replace" && !s.replace {
				continue
			}
			counts, err := b.calls(s, load{scenario: scenario, clients: 1}, steps)
			if err != nil {
				return fmt.Errorf("%s at %s: %w", scenario, s.name, err)
			}
			if scenario == "read" {
				all := 0
				for _, n := range counts {
					all += n
				}
				b.note("system calls per read of 3 requests", s.name, float64(all)/steps)
			} else if s.name != "limit" {
				b.note("flushes per "+scenario, s.name, float64(flushes(counts))/steps)
			}
		}
	}
	return nil
}

// rest is how long everything has been still before a client of rested comes.
const rest = 3 * time.Millisecond

// rested measures what a program meets that is run by hand: processes and a
// disk that have to wake up first.
func (b *bench) rested() error {
	const steps = 150
	for range b.rounds() {
		for _, scenario := range []string{"read", "store"} {
			for _, s := range b.servers {
				if s.name == "limit" && scenario != "read" {
					continue
				}
				alone := load{scenario: scenario, clients: 1, rest: rest}
				m := alone.run(b.self, s.path(), 0, steps, nil)
				if m.failed != nil {
					return fmt.Errorf("%s after a rest at %s: %w", scenario, s.name, m.failed)
				}
				b.note("connect and "+scenario+" after a rest, µs", s.name, middle(m.series))
			}
		}
		bare := load{scenario: "overwrite", clients: 1, root: true, rest: rest}
		m := bare.run(b.self, b.dir, 0, steps, nil)
		if m.failed != nil {
			return m.failed
		}
		b.note("overwrite and fdatasync after a rest, µs", "disk", middle(m.series))
	}
	return nil
}

// secrets compares the secrets service with the bare disk.
func (b *bench) secrets() error {
	i := slices.IndexFunc(b.servers, func(s *server) bool { return s.name == "gosssd secrets" })
	if i < 0 {
		return nil
	}
	for _, clients := range []int{1, 4, 16} {
		for range b.rounds() {
			rest := load{scenario: "secret", clients: clients, users: true}
			m := rest.run(b.self, filepath.Join(b.servers[i].dir, "var/run/secrets.socket"), b.duration(), 0, nil)
			if m.failed != nil {
				return m.failed
			}
			b.note(rest.name()+", per s", "gosssd secrets", m.rate)
			if err := b.bareDisk(); err != nil {
				return err
			}
		}
	}
	return nil
}

// filled is how many credentials a cache is filled with.
const filled = 2000

// fill stores ever more credentials into one cache and reads them all.
func (b *bench) fill() error { return b.fillAs("") }

func (b *bench) fillAs(circumstances string) error {
	for round := range 3 {
		for _, s := range b.servers {
			if s.name == "limit" || !s.own && !b.full && round > 0 {
				continue
			}
			cache := fmt.Sprintf("%d:fill", load{}.uid(0))
			m := load{scenario: "fill", clients: 1, cache: cache}.run(b.self, s.path(), 0, filled-warmUp, nil)
			if m.failed != nil {
				return fmt.Errorf("fill at %s: %w", s.name, m.failed)
			}
			b.note("store as number 10, µs"+circumstances, s.name, middle(m.series[10-warmUp:][:100]))
			b.note("store as number 2000, µs"+circumstances, s.name, middle(m.series[len(m.series)-100:]))
			r := load{scenario: "reread", clients: 1, cache: cache, credentials: filled}.run(b.self, s.path(), 0, b.pick(10, 50), nil)
			if r.failed != nil {
				return fmt.Errorf("read all at %s: %w", s.name, r.failed)
			}
			b.note("read all of 2000, µs"+circumstances, s.name, middle(r.series))
			if circumstances == "" {
				b.note("memory after 2000 credentials, MiB", s.name, s.memory())
			}
		}
	}
	return nil
}

func middle(times []time.Duration) float64 {
	sorted := slices.Sorted(slices.Values(times))
	return microseconds(sorted[len(sorted)/2])
}

// allIdle is longer than it takes sssd_kcm to drop what nobody asks for.
const allIdle = 7 * time.Minute

// crowdUsers have ten caches each.
const crowdUsers = 1000

// crowd gives the servers of this repository many users, and measures again.
func (b *bench) crowd() error {
	all := b.servers
	defer func() { b.servers = all }()
	b.servers = slices.DeleteFunc(slices.Clone(all), func(s *server) bool { return !s.own })
	for _, s := range b.servers {
		m := load{scenario: "crowd", clients: 1, root: true}.run(b.self, s.path(), 0, crowdUsers-warmUp, nil)
		if m.failed != nil {
			return fmt.Errorf("crowd at %s: %w", s.name, m.failed)
		}
		b.note("memory with a crowd, MiB", s.name, s.memory())
	}
	if err := b.fillAs(" (in a crowd)"); err != nil || !b.full {
		return err
	}
	for _, s := range b.servers { // without clients they would end
		c := newConn(s.path(), false)
		defer c.close()
		if _, err := c.call(frame(protocol.OpGetDefaultCache)); err != nil {
			return err
		}
	}
	time.Sleep(allIdle)
	for _, s := range b.servers {
		b.note("memory after all users went idle, MiB", s.name, s.memory())
	}
	return nil
}
