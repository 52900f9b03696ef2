package responder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"gosssd/confdb"
	"gosssd/layout"
	"gosssd/linux"
)

// Remark is what is to be said of an option whose value is right by itself.
type Remark struct {
	Section, Key string
	Text         string // what is wrong, and the cure
}

// LoadConfig reads sssd.conf, and checks it by itself, against this machine
// (the programs, directories and files that it names) and against the
// configuration in force. The error is for a directory that cannot be listed;
// what is wrong is in the findings.
func LoadConfig(sources confdb.Sources, root Root, list []Descriptor) (*confdb.Config, error) {
	config, err := confdb.Load(sources, Schema(list))
	if err != nil {
		return nil, err
	}
	conf := config.Snapshot()
	systemd := SystemdHoldsSockets(conf, root)
	for _, d := range list {
		for _, check := range []func(Descriptor, *confdb.Snapshot, Root) (key, text string){checkCommand, checkSocketPath} {
			key, text := check(d, conf, root)
			switch {
			case key == "":
			case systemd:
				unit := strings.ReplaceAll(d.Program(), "_", "-")
				config.Tell(confdb.Warning, d.Section(), key, fmt.Sprintf("has no effect while systemd holds the socket: edit the units %s.socket and %s.service", unit, unit))
			case text != "":
				config.Tell(confdb.Unusable, d.Section(), key, text)
			}
		}
		if d.Check != nil {
			tell(config, confdb.Unusable, d.Check(conf))
		}
		if d.Needs != nil && systemd {
			tell(config, confdb.Unusable, checkNeeds(d, conf, root, list))
		}
		if d.Advise != nil {
			tell(config, confdb.Warning, d.Advise(conf))
		}
	}
	checkIdentities(config, conf, root, list)
	if inForce, err := confdb.Open(root.Path(layout.Current().Database), Schema(list)); err == nil {
		for _, d := range list {
			if d.Changed != nil {
				tell(config, confdb.Warning, d.Changed(inForce, conf))
			}
		}
	}
	return config, nil
}

// checkNeeds looks for the socket of the responder that d needs.
func checkNeeds(d Descriptor, conf *confdb.Snapshot, root Root, list []Descriptor) []Remark {
	name, key := d.Needs(conf)
	for _, other := range list {
		path := other.SocketPath(root, conf)
		if _, err := os.Lstat(path); other.Name == name && errors.Is(err, fs.ErrNotExist) {
			unit := strings.ReplaceAll(other.Program(), "_", "-")
			return []Remark{{d.Section(), key, fmt.Sprintf("needs %s, and nobody listens at %s: systemctl enable --now %s.socket", other.Program(), path, unit)}}
		}
	}
	return nil
}

func tell(config *confdb.Config, kind confdb.FindingKind, remarks []Remark) {
	for _, r := range remarks {
		config.Tell(kind, r.Section, r.Key, r.Text)
	}
}

// checkCommand looks at the program that the monitor is to start. The key is
// "" if none is set.
func checkCommand(d Descriptor, conf *confdb.Snapshot, _ Root) (key, text string) {
	argv := d.Command(conf)
	if len(argv) == 0 {
		return "", ""
	}
	if _, err := exec.LookPath(argv[0]); err != nil {
		return "command", fmt.Sprintf("%s cannot be started (%v); name a program that can, or leave the option out", argv[0], cause(err))
	}
	return "command", ""
}

// checkSocketPath looks at the directory that the socket is to be in. The key
// is "" if the socket stays where it is by default.
func checkSocketPath(d Descriptor, conf *confdb.Snapshot, root Root) (key, text string) {
	path := d.SocketPath(root, conf)
	if sameSocket(path, root.Path(d.Socket)) {
		return "", ""
	}
	return d.SocketOption, socketProblem(path, root.Within() || os.Geteuid() == 0)
}

// socketProblem says why no socket can be made at path, together with the
// directories that are missing; "" if one can. Whether the directory may be
// written to is of interest only if the responder runs as the same user.
func socketProblem(path string, sameUser bool) string {
	if len(path) > linux.MaxListenPath {
		return fmt.Sprintf("the path of a socket has at most %d bytes, this one has %d", linux.MaxListenPath, len(path))
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
		return fmt.Sprintf("%s exists and is no socket; name another path", path)
	}
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	for errors.Is(err, fs.ErrNotExist) && dir != "/" {
		dir = filepath.Dir(dir)
		info, err = os.Stat(dir)
	}
	if err == nil && !info.IsDir() {
		err = unix.ENOTDIR
	} else if err == nil && sameUser {
		err = unix.Access(dir, unix.W_OK|unix.X_OK)
	}
	if err != nil {
		return fmt.Sprintf("the socket cannot be made: %s: %v; name a path in another directory", dir, cause(err))
	}
	return ""
}

// cause is an error without the operation and the path, which are told anyway.
func cause(err error) error {
	if at, ok := errors.AsType[*exec.Error](err); ok {
		err = at.Err
	}
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		err = at.Err
	}
	return err
}

// CheckFile says what is wrong with a file that an option names; "" if it can
// be read.
func CheckFile(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Sprintf("%s: %v", path, cause(err))
	}
	_ = file.Close()
	return ""
}

// SystemdHoldsSockets reports whether systemd's units hold the responders'
// sockets, rather than the monitor.
func SystemdHoldsSockets(conf *confdb.Snapshot, root Root) bool {
	switch conf.Section(MonitorSection).String("socket_activation") {
	case "systemd":
		return true
	case "monitor":
		return false
	}
	_, err := os.Stat("/run/systemd/system") // sd_booted(3)
	return err == nil && !root.Within()
}
