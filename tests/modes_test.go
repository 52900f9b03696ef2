package tests

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// modes are the files, sockets and directories that the programs make below
// their root, whatever the umask they are started with. All belong to who
// started sssd, but for what has another owner here.
var modes = map[string]string{
	"/var":               "drwxr-xr-x",
	"/var/lib":           "drwxr-xr-x",
	"/var/lib/sss":       "drwxr-xr-x",
	"/var/lib/sss/pipes": "drwxr-xr-x",
	"/var/log":           "drwxr-xr-x",
	"/var/lib/sss/pipes/private/.sbus-monitor.held": "srw-------",
	"/var/run/..heim_org.h5l.kcm-socket.held":       "srw-rw-rw-",
	"/var/run/.secrets.socket.held":                 "srw-rw-rw-",
	"/run":                                          "drwxr-xr-x",
	"/run/sssd.pid":                                 "-rw-------",
	"/run/sssd_kcm.pid":                             "-rw-------",
	"/run/sssd_secrets.pid":                         "-rw-------",
	"/var/lib/sss/db":                               "drwx------",
	"/var/lib/sss/db/config.db":                     "-rw-------",
	"/var/lib/sss/pipes/private":                    "drwxr-x---",
	"/var/lib/sss/pipes/private/sbus-monitor":       "srw-------",
	"/var/lib/sss/secrets":                          "drwx------",
	"/var/lib/sss/secrets/.secrets.mkey":            "-rw-------",
	"/var/lib/sss/secrets/secrets.db":               "-rw-------",
	"/var/lib/sss/secrets/secrets.db.journal":       "-rw-------",
	"/var/log/sssd":                                 "drwxr-x---",
	"/var/log/sssd/sssd.log":                        "-rw-------",
	"/var/log/sssd/sssd_kcm.log":                    "-rw-------",
	"/var/log/sssd/sssd_secrets.log":                "-rw-------",
	"/var/run":                                      "drwxr-xr-x",
	"/var/run/.heim_org.h5l.kcm-socket":             "srw-rw-rw-",
	"/var/run/secrets.socket":                       "srw-rw-rw-",
}

// TestModesAndOwnersWhateverTheUmask lists all that a system has made below its
// root.
func TestModesAndOwnersWhateverTheUmask(t *testing.T) {
	t.Parallel()
	for _, umask := range []string{"000", "022", "077"} {
		t.Run(umask, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, "[kcm]\ndebug_level = 10\n[secrets]\ndebug_level = 10\n")
			s.wrap = []string{"sh", "-c", "umask " + umask + `; exec "$@"`, "sh"}
			given := s.tree()
			s.start()
			me := somebody()
			if err := s.kcm().Initialize(fmt.Sprint(os.Getuid()), principal("alice")); err != nil {
				t.Fatal(err)
			}
			s.sh(me, `curl -sf --unix-socket "$ROOT/var/run/secrets.socket" -H 'Content-Type: application/octet-stream' -X PUT -d abc http://localhost/secrets/a || :`)
			s.restart()
			var wrong []string
			for path, seen := range s.tree() {
				if given[path] == "" && !s.ofTheTest(path) && seen != modes[path]+fmt.Sprintf(" %d", os.Getuid()) {
					wrong = append(wrong, fmt.Sprintf("%s is %s, want %s", path, seen, modes[path]))
				}
			}
			for path := range modes {
				if s.tree()[path] == "" {
					wrong = append(wrong, path+" is not there")
				}
			}
			slices.Sort(wrong)
			if wrong != nil {
				t.Error(strings.Join(wrong, "\n"))
			}
		})
	}
}

// ofTheTest says whether this test itself has made a file.
func (s *system) ofTheTest(path string) bool { return path == "/notify" }

// tree is all that is below the root: kind, mode and owner by path.
func (s *system) tree() map[string]string {
	s.t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(s.root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		text := info.Mode().String()
		if info.Mode()&fs.ModeSocket != 0 {
			text = "s" + info.Mode().Perm().String()[1:]
		}
		found[strings.TrimPrefix(path, s.root)] = fmt.Sprintf("%s %d", text, info.Sys().(*syscall.Stat_t).Uid)
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return found
}
