// Package launch starts the program of [kcm] ticket_hook as a user: through
// systemd where that runs, and by itself where it does not.
package launch

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gosssd/kcm/hook"
)

// New returns the starter of what ticket_hook names: a program, by its absolute
// path, or a template of units. In directory, which is root's alone, lie the
// files from which units get the event. booted says that systemd runs.
func New(value, directory string, booted bool, timeout time.Duration) hook.Starter {
	switch {
	case templateName.MatchString(value) && !booted:
		return refusal(noSystemd)
	case templateName.MatchString(value):
		return &template{name: value, directory: directory}
	case !filepath.IsAbs(value):
		return refusal(neither)
	case booted && os.Geteuid() == 0:
		return &transient{path: value, timeout: timeout}
	}
	return newProgram(value)
}

const (
	neither   = "is neither the absolute path of a program nor the name of a template such as ticket-hook@.service"
	noSystemd = "units are started by systemd, which does not run here; name a program by its absolute path"
)

// refusal starts nothing, and says why.
type refusal string

// Run implements hook.Starter.
func (r refusal) Run(context.Context, hook.Event) error { return errors.New(string(r)) }

// templateName is what systemd.unit(5) lets a template be called.
var templateName = regexp.MustCompile(`^[A-Za-z0-9:_.\\-]+@\.service$`)

// unitDirs are where systemd looks for units that packages and administrators
// have made (systemd.unit(5)).
var unitDirs = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}

// Check says why what ticket_hook names cannot be started; "" if it can.
func Check(value string) string {
	switch {
	case filepath.IsAbs(value):
		return checkProgram(value)
	case !templateName.MatchString(value):
		return neither
	case !Booted():
		return noSystemd
	}
	for _, dir := range unitDirs {
		if _, err := os.Stat(filepath.Join(dir, value)); err == nil {
			return ""
		}
	}
	return "there is no such unit; make it in " + unitDirs[0]
}

// Booted reports whether systemd runs this machine (sd_booted(3)).
func Booted() bool {
	_, err := os.Lstat("/run/systemd/system")
	return err == nil
}

// checkProgram looks at a program and at the directories that lead to it. Whoever
// can write to one of them can have other users run what he likes.
func checkProgram(path string) string {
	if filepath.Clean(path) != path {
		return "write the path as " + filepath.Clean(path)
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Sprintf("%s cannot be started: %v", path, cause(err))
	}
	info, err := os.Stat(target)
	switch {
	case err != nil:
		return fmt.Sprintf("%s cannot be started: %v", path, cause(err))
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return path + " is no program: it is no file, or may not be executed"
	}
	for _, at := range slices.Concat(wayTo(path), wayTo(target)) {
		info, err := os.Lstat(at)
		if err != nil {
			return fmt.Sprintf("%s: %v", at, cause(err))
		}
		if info.Mode().Type() == fs.ModeSymlink {
			continue // whose directory is looked at
		}
		if owner := ownerOf(info); owner != 0 && owner != os.Geteuid() {
			return fmt.Sprintf("%s belongs to uid %d, who could have other users run what he likes; give it to root", at, owner)
		}
		sticky := info.IsDir() && info.Mode()&fs.ModeSticky != 0
		if info.Mode()&0o022 != 0 && !sticky {
			return at + " may be written to by others than its owner, who could have other users run what they like; chmod go-w " + at
		}
	}
	return ""
}

// wayTo returns a path and the directories that lead to it.
func wayTo(path string) (way []string) {
	for ; path != "/"; path = filepath.Dir(path) {
		way = append(way, path)
	}
	return append(way, path)
}

// cause is an error without the operation and the path.
func cause(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err
	}
	return err
}

// environment is what a program is told.
func environment(e hook.Event) []string {
	return []string{
		"GOSSSD_EVENT=" + string(e.Kind),
		"GOSSSD_UID=" + strconv.FormatUint(uint64(e.UID), 10),
		"GOSSSD_PRINCIPAL=" + e.Principal,
		"GOSSSD_EXPIRES=" + strconv.FormatInt(e.Expires.Unix(), 10),
		"KRB5CCNAME=KCM:" + e.Name,
		"LANG=C",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	}
}

// unique is a part of a unit's name that no other has.
func unique() string { return strings.ToLower(rand.Text()[:13]) }
