package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"gosssd/kcm/client"
	"gosssd/kcm/protocol"
)

// fault is what is laid on a server, and what is looked at.
type fault struct {
	name  string
	conf  string // of ours
	disk  string
	words []string // one of which tells the administrator, in a log
	lay   func(x *experiment)
	ours  bool // Debian's has nothing of the kind
	waits bool // most of its time is waiting
}

// faultRow is what a fault came to on one side.
type faultRow struct {
	fault                     string
	side                      string
	saw, lost, resumed, reads string
}

// experiment is a fault under way.
type experiment struct {
	*server
	faultRow
	acked int // tickets whose STORE was answered with success
}

// alice is the user whose tickets are counted at the end.
const alice = 20001

// resumeLimit is how long a server has to serve again by itself.
const resumeLimit = 15 * time.Second

// runFaults lays all faults on each side, the sides side by side, since what is
// looked at here is not speed. Those with long waits go beside the others.
func (b *bench) runFaults() error {
	rows := make([][]faultRow, len(faults))
	var errs []error
	var noted sync.Mutex
	var all sync.WaitGroup
	one := func(i, n int) {
		row, err := b.lay(faults[i], b.sides[n])
		noted.Lock()
		defer noted.Unlock()
		fmt.Fprintf(os.Stderr, "%+v\n", row)
		rows[i][n], errs = row, append(errs, err)
	}
	for i := range rows {
		rows[i] = make([]faultRow, len(b.sides))
	}
	for n, sd := range b.sides {
		wanted := func(f fault) bool {
			return strings.Contains(f.name, b.only) && (!f.ours || !sd.debian) && !sd.heimdal
		}
		all.Go(func() {
			for i, f := range faults {
				if wanted(f) && f.waits {
					all.Go(func() { one(i, n) })
				}
			}
			for i, f := range faults {
				if wanted(f) && !f.waits {
					one(i, n)
				}
			}
		})
	}
	all.Wait()
	for _, of := range rows {
		for _, row := range of {
			if row.side != "" {
				b.faults = append(b.faults, row)
			}
		}
	}
	return errors.Join(errs...)
}

func (b *bench) lay(f fault, sd *side) (faultRow, error) {
	s, err := b.start(sd, options{conf: f.conf, disk: f.disk})
	if err != nil {
		return faultRow{}, fmt.Errorf("%s: %w", f.name, err)
	}
	defer s.stop()
	x := &experiment{server: s, faultRow: faultRow{fault: f.name, side: sd.name}}
	if err := x.fill(20); err != nil {
		return x.faultRow, fmt.Errorf("%s, %s: %w", f.name, sd.name, err)
	}
	read := len(s.log(0))
	f.lay(x)
	if x.lost == "" {
		x.count()
	}
	if x.reads == "" {
		x.reads = s.found(read, f.words)
	}
	return x.faultRow, nil
}

// fill gives alice a cache with tickets.
func (x *experiment) fill(n int) error {
	c := x.client(alice, 10*time.Second)
	defer c.Close()
	err := c.Initialize(fmt.Sprint(alice), principal("alice"))
	for range n {
		err = errors.Join(err, x.store(c))
	}
	return err
}

// store stores one more of alice's tickets.
func (x *experiment) store(c *client.Client) error {
	err := c.Store(fmt.Sprint(alice), ticket(fmt.Sprint("host", x.acked), 1500))
	if err == nil {
		x.acked++
	}
	return err
}

// ops are what clients do: one reads, one logs in, one stores, one logs out.
func (x *experiment) ops(patience time.Duration) (names []string, results map[string]error) {
	c := x.client(alice, patience)
	defer c.Close()
	x.next++
	fresh := x.client(x.next, patience)
	defer fresh.Close()
	name := fmt.Sprint(x.next)
	results = map[string]error{}
	for _, op := range []struct {
		name string
		do   func() error
	}{
		{"klist", func() error { _, err := c.Credentials(fmt.Sprint(alice)); return err }},
		{"kinit", func() error {
			if err := fresh.Initialize(name, principal("g")); err != nil {
				return err
			}
			return fresh.Store(name, ticket("krbtgt", 1500))
		}},
		{"kvno", func() error { return x.store(c) }},
		{"kdestroy", func() error {
			_, err := fresh.Call(protocol.OpDestroy, protocol.AppendName(nil, name))
			return err
		}},
	} {
		err := op.do()
		if err != nil {
			_, _ = c.Close(), fresh.Close()
		}
		names, results[op.name] = append(names, op.name), err
	}
	return names, results
}

// served is nil if every client is served.
func (x *experiment) served() error {
	_, results := x.ops(5 * time.Second)
	var failed error
	for _, err := range results {
		failed = errors.Join(failed, err)
	}
	return failed
}

// look notes what clients see now.
func (x *experiment) look(when string, patience time.Duration) {
	names, results := x.ops(patience)
	var groups []string
	members := map[string][]string{}
	for _, name := range names {
		what := words(results[name])
		if members[what] == nil {
			groups = append(groups, what)
		}
		members[what] = append(members[what], name)
	}
	var parts []string
	for _, what := range groups {
		parts = append(parts, strings.Join(members[what], ", ")+" "+what)
	}
	if len(groups) == 1 {
		parts = []string{"all " + groups[0]}
	}
	x.note(when + strings.Join(parts, "; "))
}

func (x *experiment) note(what string) {
	if x.saw != "" {
		x.saw += ". "
	}
	x.saw += what
}

// resumes notes whether all is served again without help.
func (x *experiment) resumes() {
	if took := x.await(resumeLimit, x.served); took >= 0 {
		x.resumed = fmt.Sprintf("yes, %s", brief(took))
		return
	}
	x.resumed = fmt.Sprintf("not in %v", resumeLimit)
	if err := x.restart(); err != nil {
		x.resumed += ", nor can it be started: " + err.Error()
	} else if took := x.await(resumeLimit, x.served); took >= 0 {
		x.resumed += "; after a restart"
	} else {
		x.resumed += ", nor after a restart"
	}
}

func brief(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return "at once"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// count looks how many of alice's acknowledged tickets are there after every
// process was killed.
func (x *experiment) count() {
	x.kill()
	var have int
	err := errors.New("no answer")
	took := x.await(resumeLimit, func() error {
		c := x.client(alice, 10*time.Second)
		defer c.Close()
		var got []protocol.Credential
		got, err = c.Credentials(fmt.Sprint(alice))
		if gone(err) {
			err = nil
		}
		have = len(got)
		return err
	})
	switch {
	case took < 0:
		x.lost = fmt.Sprintf("%d tickets cannot be read: %s", x.acked, words(err))
	case have < x.acked:
		x.lost = fmt.Sprintf("%d of %d tickets", x.acked-have, x.acked)
	default:
		x.lost = "0"
	}
}

// gone says that the server answers that there is no such cache.
func gone(err error) bool {
	var refused *client.Error
	return errors.As(err, &refused) && (refused.Code == protocol.NoFile || refused.Code == protocol.NotFound || refused.Code == protocol.End)
}

// found is the first line of the logs, from a place on, that tells.
func (s *server) found(from int, words []string) string {
	for line := range strings.Lines(s.log(from)) {
		for _, word := range words {
			if !strings.Contains(strings.ToLower(line), word) {
				continue
			}
			for range 4 { // without the time, the program and the level
				if rest, after, cut := strings.Cut(line, "] "); cut && len(rest) < 60 {
					line = after
				}
			}
			line = strings.ReplaceAll(strings.TrimSpace(line), s.dir, "")
			line = strings.ReplaceAll(line, "|", "/")
			if len(line) > 170 {
				line = line[:170] + "…"
			}
			return line
		}
	}
	return "nothing"
}
