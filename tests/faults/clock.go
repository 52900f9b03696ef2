package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// clockVariable names the file by which tests/clockshift steps the wall clock of
// the programs that it has built.
const clockVariable = "GOSSSD_TEST_CLOCK"

// steps are by how much the wall clock is wrong, one after the other.
var steps = []time.Duration{time.Hour, 0, -time.Hour, 0}

// After a step forward no other fault comes for a while: a process that sees the
// step has one purge at which it doubts the time, or enough to believe it; one
// that is started after it believes the time at its first purge.
const (
	doubted  = 1500 * time.Millisecond
	believed = 4500 * time.Millisecond
)

// lifetime is that of the tickets of some logins: less than a step.
const lifetime = 30 * time.Minute

// expires says whether the tickets of a login have an end.
func expires(value int) bool { return value%3 == 0 }

// clockFile makes the file, for programs that can follow it.
func (s *server) clockFile() error {
	for _, program := range []string{"sssd", "sssd_kcm", "sssd_secrets"} {
		path := filepath.Join(s.bin, program)
		if text, err := os.ReadFile(path); err != nil {
			return err
		} else if !bytes.Contains(text, []byte(clockVariable)) {
			return fmt.Errorf("%s has no clock that can be stepped; build it with tests/clockshift", path)
		}
	}
	s.clock = s.dir + "/clock"
	return s.setClock(0)
}

// setClock has the programs' clock be wrong by so much.
func (s *server) setClock(by time.Duration) error {
	f, err := os.OpenFile(s.clock, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(by/time.Second)), 0)
	return err
}

// clockStepped steps the clock, which stays wrong until the next step. Where it
// goes forward, what a step backward had left to live may be over, too.
func (h *history) clockStepped() {
	by := steps[h.stepped%len(steps)]
	before := time.Duration(h.wrong.Load())
	h.stepped++
	s := step{Begin: h.now()}
	h.during(fmt.Sprintf("clock wrong by %v", by), false, func() {
		if err := h.setClock(by); err != nil {
			h.complain("the clock cannot be stepped", err)
		}
		h.wrong.Store(int64(by))
	})
	s.End = h.now()
	if by <= before {
		return
	}
	h.forward = append(h.forward, s)
	wait := doubted
	if len(h.forward)%2 == 0 {
		wait = believed
	}
	h.during("nothing for "+wait.String(), false, func() { time.Sleep(wait) })
}

// end is when the tickets of a login end, by the clock of the servers.
func (h *history) end(value int) uint32 {
	if !expires(value) {
		return 0x7fffffff
	}
	return uint32(time.Now().Add(time.Duration(h.wrong.Load()) + lifetime).Unix())
}
