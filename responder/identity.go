package responder

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gosssd/confdb"
	"gosssd/layout"
	"gosssd/linux"
)

// The options of an identity socket.
const (
	identityPath = "path"
	identityUser = "user"
	identityMode = "mode"
)

// identityFamily ends the name of the family of sections that declare identity
// sockets. What follows the blank is the socket's name.
const identityFamily = "/socket "

// IdentitySection declares the identity sockets of the responder whose own
// section is service. A responder has them if this is among its sections.
//
// The blank is git-config's and systemd's way to tell a name from the word
// before it. libini takes it as part of the name; SSSD starts with a section it
// does not know, and its config-check reports one whatever is between the words.
func IdentitySection(service string) confdb.Section {
	return confdb.Section{
		Name: service + identityFamily + "*",
		Text: "A socket for containers, whose clients all count as one user",
		Options: []confdb.Option{
			{Key: identityPath, Kind: confdb.Path, Text: "Where the socket is, in a directory that exists; must be set"},
			{Key: identityUser, Kind: confdb.String, Text: "Who every client of the socket counts as, whatever its uid is: a uid, or a name of /etc/passwd, but not root; must be set"},
			{Key: identityMode, Kind: confdb.Mode, Default: "0600", Text: "Who may connect: the mode of the socket, which belongs to that user"},
		},
	}
}

// IdentitySocket is a socket whose clients all count as one user, whoever the
// kernel says they are.
type IdentitySocket struct {
	Name    string // for logs, units and LISTEN_FDNAMES: see identityName
	Section string
	Path    string // below the root
	User    string // as configured
	Mode    fs.FileMode
}

// identityName is what may be in the names of units and descriptors.
var identityName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)

// identityPlace is what a path may be made of: nothing that a unit of systemd,
// a shell or a runtime of containers would have to quote.
var identityPlace = regexp.MustCompile(`^/[A-Za-z0-9/._+@-]*$`)

// identityPrefix begins the name of an identity socket among the descriptors
// that are handed over (LISTEN_FDNAMES).
const identityPrefix = "socket-"

// FDName is the name of the socket's descriptor where it is handed over. The uid
// is part of it, so that a socket that was made for one user, and could not be
// made anew, is never taken for another's. It is "" if there is no such user.
func (s IdentitySocket) FDName() string {
	uid, _, err := s.Owner()
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s%s.%d", identityPrefix, s.Name, uid)
}

// IdentitySockets returns the responder's identity sockets that are configured
// and right, by name.
func (d Descriptor) IdentitySockets(root Root, conf *confdb.Snapshot) []IdentitySocket {
	var sockets []IdentitySocket
	for _, s := range d.identities(root, conf) {
		if _, _, problem := s.problem(); problem == "" {
			sockets = append(sockets, s)
		}
	}
	return sockets
}

// identities returns all that are configured.
func (d Descriptor) identities(root Root, conf *confdb.Snapshot) []IdentitySocket {
	prefix := d.Section() + identityFamily
	if !slices.ContainsFunc(d.Sections, func(s confdb.Section) bool { return s.Name == prefix+"*" }) {
		return nil
	}
	var sockets []IdentitySocket
	for _, section := range conf.Sections(prefix) {
		options := conf.Section(section)
		s := IdentitySocket{
			Name: strings.TrimPrefix(section, prefix), Section: section,
			User: options.String(identityUser), Mode: options.Mode(identityMode),
		}
		if path := options.String(identityPath); path != "" {
			s.Path = root.Path(path)
		}
		sockets = append(sockets, s)
	}
	return sockets
}

// problem says what is wrong with the options by themselves; the text is "" if
// nothing is.
func (s IdentitySocket) problem() (kind confdb.FindingKind, key, text string) {
	switch {
	case !identityName.MatchString(s.Name):
		return confdb.BadValue, identityPath, fmt.Sprintf("the name of the section, %q, must be of at most 32 letters, digits, '-' and '_', and begin with a letter or digit", s.Name)
	case s.Path == "":
		return confdb.BadValue, identityPath, "is not set; it must be the path of the socket"
	case !identityPlace.MatchString(s.Path):
		return confdb.BadValue, identityPath, "may have letters, digits and / . _ + @ - only"
	case s.User == "":
		return confdb.BadValue, identityUser, "is not set; it must be the user that clients count as"
	case s.Mode&0o200 == 0:
		return confdb.BadValue, identityMode, fmt.Sprintf("%04o lets the user itself not connect; set the bit 0200", s.Mode)
	}
	uid, _, err := s.Owner()
	switch {
	case errors.Is(err, errRoot):
		return confdb.BadValue, identityUser, err.Error()
	case err != nil:
		return confdb.Unusable, identityUser, err.Error()
	case uid == linux.AnyID:
		return confdb.BadValue, identityUser, "is (uid_t) -1, which is no user"
	}
	return 0, "", ""
}

// errRoot keeps root's rights from whoever gets hold of a socket.
var errRoot = errors.New("is root, whose rights to every user's caches pass through no such socket; name another user")

// Owner returns the user that clients count as, and its group, which is
// linux.AnyID if /etc/passwd has none.
func (s IdentitySocket) Owner() (uid, gid uint32, err error) {
	number, err := strconv.ParseUint(s.User, 10, 32)
	var account *user.User
	if err == nil {
		account, _ = user.LookupId(strconv.FormatUint(number, 10))
	} else if account, err = user.Lookup(s.User); err != nil {
		return 0, 0, fmt.Errorf("there is no user %q in /etc/passwd; make one, or name the uid", s.User)
	}
	uid, gid = uint32(number), linux.AnyID
	if account != nil {
		number, err = strconv.ParseUint(account.Uid, 10, 32)
		group, groupErr := strconv.ParseUint(account.Gid, 10, 32)
		if err := errors.Join(err, groupErr); err != nil {
			return 0, 0, fmt.Errorf("user %q of /etc/passwd: %w", s.User, err)
		}
		uid, gid = uint32(number), uint32(group)
	}
	if uid == 0 {
		return 0, 0, errRoot
	}
	return uid, gid, nil
}

// Own gives the socket, which is there, its owner and mode.
func (s IdentitySocket) Own() error {
	uid, gid, err := s.Owner()
	if err != nil {
		return fmt.Errorf("[%s] user %w", s.Section, err)
	}
	return linux.OwnSocket(s.Path, uid, gid, s.Mode)
}

// listen makes the socket.
func (s IdentitySocket) listen() (*net.UnixListener, error) {
	l, err := linux.Listen(s.Path, 0o600) // root's, until it is the user's
	if err != nil {
		return nil, err
	}
	if err := s.Own(); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// checkIdentities looks at the identity sockets of all responders together.
func checkIdentities(config *confdb.Config, conf *confdb.Snapshot, root Root, list []Descriptor) {
	taken := map[string]string{}
	take := func(path, what string) (by string) {
		path = resolved(path)
		if by = taken[path]; by == "" {
			taken[path] = what
		}
		return by
	}
	take(root.Path(layout.Current().Bus), "the private bus")
	for _, d := range list {
		take(d.SocketPath(root, conf), "["+d.Section()+"]")
	}
	for _, d := range list {
		for _, s := range d.identities(root, conf) {
			if kind, key, text := s.problem(); text != "" {
				config.Tell(kind, s.Section, key, text)
				continue
			}
			if by := take(s.Path, "["+s.Section+"]"); by != "" {
				config.Tell(confdb.BadValue, s.Section, identityPath, "is the socket of "+by+" already; name another path")
			} else if text := s.placeProblem(root); text != "" {
				config.Tell(confdb.Unusable, s.Section, identityPath, text)
			}
		}
	}
}

// placeProblem says why the socket cannot be made on this machine; "" if it
// can. A directory that is missing is not made: who may enter it is for the
// administrator to say.
func (s IdentitySocket) placeProblem(root Root) string {
	if _, err := os.Stat(filepath.Dir(s.Path)); err != nil {
		return fmt.Sprintf("the directory %s: %v; make it, below /run at every boot by tmpfiles.d(5)", filepath.Dir(s.Path), cause(err))
	}
	return socketProblem(s.Path, root.Within() || os.Geteuid() == 0)
}

// actor is who the clients of a socket count as.
type actor struct {
	socket   string // the name
	uid, gid uint32
	err      error // why they cannot; they are refused
}

// endpoint is a socket with the identity of its clients; nil is their own.
type endpoint struct {
	*net.UnixListener
	identity *actor
}

func (s IdentitySocket) endpoint(l *net.UnixListener) endpoint {
	i := &actor{socket: s.Name}
	i.uid, i.gid, i.err = s.Owner()
	return endpoint{l, i}
}

// peerOf returns who is at the other end of a connection that came through the
// endpoint. With an identity only the process is the peer's own: its uid says
// nothing, and need not even have a number here.
func (e endpoint) peerOf(c *net.UnixConn) (Peer, error) {
	if e.identity == nil {
		return linux.PeerOf(c)
	}
	if e.identity.err != nil {
		return Peer{}, fmt.Errorf("socket %s: user %w", e.identity.socket, e.identity.err)
	}
	peer, err := linux.PeerAsMapped(c)
	if err != nil {
		return Peer{}, err
	}
	return Peer{UID: e.identity.uid, GID: e.identity.gid, PID: peer.PID}, nil
}
