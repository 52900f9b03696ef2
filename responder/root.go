package responder

import (
	"os"
	"path/filepath"
	"strings"

	"gosssd/layout"
	"gosssd/linux"
)

// Root is the directory in front of every path, as in systemctl --root; ""
// is the machine itself.
type Root string

// MakeRoot returns the root that --root names, as an absolute path.
func MakeRoot(dir string) (Root, error) {
	if dir == "" {
		return "", nil
	}
	absolute, err := filepath.Abs(dir)
	return Root(absolute), err
}

// The places that both forms of the product share, below the root.
const (
	ConfigFile = "/etc/sssd/sssd.conf"
	SnippetDir = "/etc/sssd/conf.d"
	SecretsDir = "/var/lib/sss/secrets"
	LogDir     = "/var/log/sssd"
)

// Path puts the root in front of an absolute path.
func (r Root) Path(path string) string {
	if r == "" {
		return path
	}
	return filepath.Join(string(r), path)
}

// Within reports whether files are expected to belong to the calling user
// instead of root, which is so below any root.
func (r Root) Within() bool { return strings.Trim(string(r), "/") != "" }

// MakeDirs makes the directories that are missing. Those that packages have
// made keep their owners and modes.
func (r Root) MakeDirs() error {
	for _, dir := range []struct {
		path string
		mode os.FileMode
	}{
		{filepath.Dir(layout.Current().Database), 0o700},
		{SecretsDir, 0o700},
		{filepath.Dir(layout.Current().Bus), 0o750},
		{LogDir, 0o750},
		{filepath.Dir(layout.Current().PIDFile), 0o755},
	} {
		path := r.Path(dir.path)
		if err := linux.MakeDirs(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := linux.MakeDirs(path, dir.mode); err != nil {
			return err
		}
	}
	return nil
}
