// Package logins tells which login session of systemd-logind a process is in,
// and which sessions are over.
//
// It asks the kernel, not logind: logind has systemd put each session into a
// control group of its own, user.slice/user-UID.slice/session-ID.scope, and a
// session that is over has none. So there is no daemon whose restart could be
// missed, and no connection to be kept.
package logins

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"gosssd/linux"
)

// Session is one login session, or with an empty Name all that a user has
// running under logind: his slice, which goes with the last of it.
type Session struct {
	Boot  [16]byte // of the kernel: numbers of sessions begin again with each
	Root  uint64   // the control group that is the root of what is seen here
	Group uint64   // the session's control group; the kernel gives no number twice in one boot
	UID   uint32
	Name  string // logind's, such as "3" or "c1"
}

// Place is where a process is. Both are zero outside of the user's slice;
// Session alone is zero in what belongs to no login session, such as a
// user@UID.service.
type Place struct{ Session, User Session }

// ErrNone says that there are no login sessions to be seen here.
var ErrNone = errors.New("no login sessions are to be seen")

// Machine is the control groups of this machine or container.
type Machine struct {
	groups, proc string
	boot         [16]byte
	root         uint64
}

// Open looks at the control groups at /sys/fs/cgroup. The boot has the
// number in BOOT_ID, where the unit has set that since /proc/sys is hidden from
// it, or the one in /proc. The error wraps ErrNone.
func Open() (*Machine, error) {
	const groups, proc = "/sys/fs/cgroup", "/proc"
	var system unix.Statfs_t
	if err := unix.Statfs(groups, &system); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrNone, groups, err)
	}
	if system.Type != unix.CGROUP2_SUPER_MAGIC {
		return nil, fmt.Errorf("%w: %s is not the unified hierarchy of control groups (cgroup2)", ErrNone, groups)
	}
	boot := os.Getenv("BOOT_ID")
	if boot == "" {
		text, err := os.ReadFile(proc + "/sys/kernel/random/boot_id")
		if err != nil {
			return nil, fmt.Errorf("%w: which boot this is, is not known: %w", ErrNone, err)
		}
		boot = string(text)
	}
	return open(groups, proc, boot)
}

func open(groups, proc, bootID string) (*Machine, error) {
	m := &Machine{groups: groups, proc: proc}
	id, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(bootID), "-", ""))
	if err != nil || len(id) != len(m.boot) {
		return nil, fmt.Errorf("%w: %q is no number of a boot", ErrNone, bootID)
	}
	copy(m.boot[:], id)
	if m.root, err = inode(groups); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	return m, nil
}

// Running reports whether systemd-logind has begun to run in this boot.
func Running() bool {
	_, err := os.Stat("/run/systemd/seats/seat0") // which it always makes; systemd-tmpfiles(8) makes the directory
	return err == nil
}

// scope is where logind has sessions of a user put.
var scope = regexp.MustCompile(`^/user\.slice/user-([0-9]+)\.slice(?:/session-([A-Za-z0-9_]+)\.scope)?(?:/|$)`)

// Place returns where a process is among what a user has running. A process
// that ends meanwhile is nowhere: its number may be another's.
func (m *Machine) Place(p *linux.Process, uid uint32) Place {
	text, err := os.ReadFile(filepath.Join(m.proc, strconv.Itoa(p.PID), "cgroup"))
	if err != nil || p.Ended() {
		return Place{}
	}
	for line := range bytes.Lines(text) {
		path, unified := strings.CutPrefix(strings.TrimSuffix(string(line), "\n"), "0::") // cgroups(7)
		if !unified {
			continue
		}
		parts := scope.FindStringSubmatch(path)
		if parts == nil || parts[1] != strconv.FormatUint(uint64(uid), 10) {
			return Place{}
		}
		place := Place{User: m.session(uid, "")}
		if parts[2] != "" {
			place.Session = m.session(uid, parts[2])
		}
		return place
	}
	return Place{}
}

// session returns the session that has a name now; zero if there is none.
func (m *Machine) session(uid uint32, name string) Session {
	group, err := inode(m.path(uid, name))
	if err != nil {
		return Session{}
	}
	return Session{Boot: m.boot, Root: m.root, Group: group, UID: uid, Name: name}
}

// Ended reports whether a session is over for certain.
func (m *Machine) Ended(s Session) bool {
	switch {
	case s.Boot != m.boot:
		return true
	case s.Root != m.root:
		return false // of another container, which may have it still
	}
	group, err := inode(m.path(s.UID, s.Name))
	if err == nil {
		return group != s.Group
	}
	if root, err := inode(m.groups); err != nil || root != m.root {
		return false // the control groups are out of sight
	}
	return errors.Is(err, fs.ErrNotExist)
}

func (m *Machine) path(uid uint32, name string) string {
	slice := filepath.Join(m.slices(), sliceName(uid))
	if name == "" {
		return slice
	}
	return filepath.Join(slice, "session-"+name+".scope")
}

func (m *Machine) slices() string { return filepath.Join(m.groups, "user.slice") }

func sliceName(uid uint32) string { return fmt.Sprintf("user-%d.slice", uid) }

func inode(path string) (uint64, error) {
	var info unix.Stat_t
	if err := unix.Lstat(path, &info); err != nil {
		return 0, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	return info.Ino, nil
}
