package explain

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"gosssd/linux"
	"gosssd/sbus"
)

// Socket is what can be seen of the socket that Kerberos programs connect to.
type Socket struct {
	Path    string
	Owner   uint32 // whom it should belong to
	Stat    error  // why it cannot be looked at
	Info    fs.FileInfo
	Connect error      // why it cannot be connected to
	Peer    linux.Peer // who listens there
	Program string     // of that process, "" if it cannot be seen
	Answer  error      // why no request is answered
}

// LookAtSocket looks at a socket and asks who listens there one question.
func LookAtSocket(ctx context.Context, path string, owner uint32, ask func(ctx context.Context, path string) error) Socket {
	s := Socket{Path: path, Owner: owner}
	if s.Info, s.Stat = os.Stat(path); s.Stat != nil {
		return s
	}
	conn, err := linux.Dial(ctx, path)
	if err != nil {
		s.Connect = err
		return s
	}
	defer conn.Close()
	if s.Peer, s.Connect = linux.PeerAsMapped(conn); s.Connect != nil {
		return s
	}
	s.Program = programOf(s.Peer.PID)
	s.Answer = ask(ctx, path)
	return s
}

// programOf is the program of a process, or its short name where only its owner
// may see more.
func programOf(pid int32) string {
	if name, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil {
		return strings.TrimSuffix(name, " (deleted)")
	}
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return strings.TrimSpace(string(name))
}

func (s *Scene) start() Step { return run(root, "systemctl start %s", s.Monitor) }

// reopen has the socket made anew by whoever holds it.
func (s *Scene) reopen() []Step {
	if !s.Units {
		return []Step{run(root, "systemctl restart %s", s.Monitor)}
	}
	return []Step{run(root, "systemctl stop sssd-kcm.socket sssd-kcm.service"), run(root, "systemctl start %s sssd-kcm.socket", s.Monitor)}
}

func socket(s *Scene) Finding {
	switch k := s.Socket; {
	case errors.Is(k.Stat, fs.ErrNotExist):
		return problem("there is no socket %s, so Kerberos programs find no server", k.Path).with(s.reopen()...)
	case k.Stat != nil:
		return problem("the socket cannot be looked at: %v", k.Stat).with(see(root, "let everybody pass the directories above it"))
	case k.Info.Mode().Type() != fs.ModeSocket:
		return problem("%s is no socket, so Kerberos programs find no server", k.Path).with(run(root, "rm -r %s", k.Path)).with(s.reopen()...)
	case errors.Is(k.Connect, syscall.ECONNREFUSED):
		return problem("nobody listens at %s", k.Path).with(s.reopen()...)
	}
	return well("%s is there", s.Socket.Path)
}

func permissions(s *Scene) Finding {
	k := s.Socket
	stat, ok := k.Info.Sys().(*syscall.Stat_t)
	if ok && stat.Uid != k.Owner {
		return problem("%s belongs to uid %d, who can replace it; it should be uid %d's", k.Path, stat.Uid, k.Owner).
			with(run(root, "chown %d %s", k.Owner, k.Path))
	}
	const everybody = 0o666
	if mode := k.Info.Mode().Perm(); mode&everybody != everybody {
		return problem("%s has the mode %04o, so not everybody can connect", k.Path, mode).with(run(root, "chmod 0666 %s", k.Path))
	}
	if k.Connect != nil {
		return problem("%s cannot be connected to: %v", k.Path, k.Connect).with(see(root, "let everybody pass the directories above it"))
	}
	return well("everybody can connect")
}

// listener finds another program at the socket. The kernel names the process that
// began to listen: systemd, the monitor, or the server itself.
func listener(s *Scene) Finding {
	k := s.Socket
	if k.Stat != nil || k.Peer == (linux.Peer{}) {
		return well("no other program listens")
	}
	who := fmt.Sprintf("process %d (%s) of uid %d", k.Peer.PID, k.Program, k.Peer.UID)
	ours := slices.Contains([]string{"systemd", "init", s.Monitor, "sssd_kcm"}, filepath.Base(k.Program))
	if s.System != nil && ours && k.Peer.PID != 1 {
		ours = slices.Contains(s.System.pids(), k.Peer.PID)
	}
	if k.Program == "" && s.System == nil {
		ours = true // this user may not look at the processes of others
	}
	if !ours || k.Peer.UID != k.Owner {
		return problem("it is not %s that listens at %s, but %s", s.Monitor, k.Path, who).
			with(run(root, "kill %d", k.Peer.PID)).with(s.reopen()...)
	}
	if s.System != nil && !s.System.Down && k.Answer == nil && s.System.service("kcm").State == sbus.StateIdle {
		return problem("requests are answered by a server that %s has not started, such as SSSD's own sssd_kcm", s.Monitor).
			with(s.reopen()...)
	}
	return well("no other program listens")
}

func server(s *Scene) Finding {
	if err := s.Socket.Answer; err != nil {
		if s.System == nil && s.Of != nil {
			return problem("the server does not answer as it should: %v", err).with(run(root, "%s explain --user %s", s.Tool, s.Of.Name))
		}
		return problem("the server does not answer as it should: %v", err).
			with(see(root, "mend what the log of sssd_kcm says of it")).with(s.reopen()...)
	}
	return well("the server answers")
}
