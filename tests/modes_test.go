package tests

import (
	"fmt"
	"io/fs"
	"maps"
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

// modesOfKCMsOwn are what there is instead, and as well, where kcm keeps the
// caches itself, and has an identity socket for alice. "" is not there.
var modesOfKCMsOwn = map[string]string{
	"/var/lib/sss/secrets/.kcm.mkey":      "-rw-------",
	"/var/lib/sss/secrets/kcm.db":         "-rw-------",
	"/var/lib/sss/secrets/kcm.db.journal": "-rw-------",
	"/srv/web/kcm":                        "srw-rw-rw- 20001 0",
	"/srv/web/.kcm.held":                  "srw-rw-rw- 20001 0",
}

// TestModesAndOwnersWhateverTheUmask lists all that a system has made below its
// root.
func TestModesAndOwnersWhateverTheUmask(t *testing.T) {
	t.Parallel()
	for _, umask := range []string{"000", "022", "077"} {
		t.Run("umask "+umask, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, "[kcm]\ndebug_level = 10\n[secrets]\ndebug_level = 10\n")
			s.expectModes(umask, modes)
		})
		t.Run("caches of kcm's own, umask "+umask, func(t *testing.T) {
			t.Parallel()
			needRoot(t)
			s := newSystem(t, identityConf(podSocket)+"[kcm]\nccache_storage = secdb\n[secrets]\ndebug_level = 10\n")
			s.sh(0, `mkdir -p "$ROOT/srv/web"`)
			all := maps.Clone(modes)
			maps.Copy(all, modesOfKCMsOwn)
			s.expectModes(umask, all)
		})
	}
}

// expectModes has both services make all their files below a umask.
func (s *system) expectModes(umask string, want map[string]string) {
	s.t.Helper()
	s.wrap = []string{"sh", "-c", "umask " + umask + `; exec "$@"`, "sh"}
	given := s.tree()
	s.start()
	if err := s.kcm().Initialize(fmt.Sprint(os.Getuid()), principal("alice")); err != nil {
		s.t.Fatal(err)
	}
	s.sh(somebody(), `curl -sf --unix-socket "$ROOT/var/run/secrets.socket" -H 'Content-Type: application/octet-stream' -X PUT -d abc http://localhost/secrets/a || :`)
	s.restart()
	var wrong []string
	found := s.tree()
	for path, seen := range found {
		mode := want[path]
		if len(strings.Fields(mode)) == 1 {
			mode += fmt.Sprintf(" %d %d", os.Getuid(), os.Getgid())
		}
		if given[path] == "" && !s.ofTheTest(path) && seen != mode {
			wrong = append(wrong, fmt.Sprintf("%s is %s, want %s", path, seen, mode))
		}
	}
	for path, mode := range want {
		if found[path] == "" && mode != "" {
			wrong = append(wrong, path+" is not there")
		}
	}
	slices.Sort(wrong)
	if wrong != nil {
		s.t.Error(strings.Join(wrong, "\n"))
	}
}

// ofTheTest says whether this test itself has made a file.
func (s *system) ofTheTest(path string) bool { return path == "/notify" }

// tree is all that is below the root: kind, mode, owner and group by path.
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
		stat := info.Sys().(*syscall.Stat_t)
		found[strings.TrimPrefix(path, s.root)] = fmt.Sprintf("%s %d %d", text, stat.Uid, stat.Gid)
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return found
}
