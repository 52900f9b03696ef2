package launch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"os/user"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gosssd/kcm/hook"
	"gosssd/linux"
)

// program starts a program by itself, where no systemd does.
type program struct {
	path string
	shut func() error // closes, in programs, what this process was started with
}

func newProgram(path string) *program {
	return &program{path: path, shut: sync.OnceValue(shutInherited)}
}

// Run implements hook.Starter.
func (p *program) Run(ctx context.Context, e hook.Event) error {
	if problem := checkProgram(p.path); problem != "" {
		return errors.New(problem)
	}
	if err := p.shut(); err != nil {
		return err
	}
	account, err := accountOf(e.UID)
	if err != nil {
		return err
	}
	output := &head{}
	cmd := exec.Command(p.path)
	cmd.Dir, cmd.Env = "/", append(environment(e), account.environment...)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.WaitDelay = time.Second // what the program has left behind may hold its output open
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: account.credential}
	if err := startConfined(cmd); err != nil {
		return err
	}
	err = awaitEnd(ctx, cmd)
	if err != nil && output.text() != "" {
		err = fmt.Errorf("%w: %s", err, output.text())
	}
	return err
}

// startConfined starts a program that can gain no privileges, by setuid
// programs for example. The thread that starts it can gain none either, and is
// given up: it ends with its goroutine, which is locked to it.
func startConfined(cmd *exec.Cmd) error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			started <- fmt.Errorf("no new privileges: %w", err)
			return
		}
		started <- cmd.Start()
	}()
	return <-started
}

// shutInherited sees to it that programs get none of the descriptors that this
// process was started with. Those that it opens itself they do not get anyway.
func shutInherited() error {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, entry := range open {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// awaitEnd returns what became of a program. When it has ended, or when ctx
// ends, all processes of its group are killed. The number of the group is its
// own until its status is taken.
func awaitEnd(ctx context.Context, cmd *exec.Cmd) error {
	process, err := linux.OpenProcess(cmd.Process.Pid)
	if err == nil {
		err = process.Wait(ctx)
		process.Close()
	}
	killed := unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	if errors.Is(killed, unix.ESRCH) {
		killed = nil
	}
	end := cmd.Wait()
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return errors.Join(errors.New("took too long, and was killed"), killed)
	case err != nil:
		return errors.Join(fmt.Errorf("was killed: %w", err), killed)
	case errors.Is(end, exec.ErrWaitDelay):
		end = nil
	}
	return errors.Join(end, killed)
}

// account is who a program runs as.
type account struct {
	credential  *syscall.Credential // nil: as this process
	environment []string
}

// nogroup is the group of a user whom /etc/passwd does not have.
const nogroup = 65534

// accountOf returns a user as /etc/passwd and /etc/group have him. One of a
// directory service, whom only the C library could ask for, has no group, no name
// and no home.
func accountOf(uid uint32) (account, error) {
	if uid == math.MaxUint32 {
		return account{}, errors.New("uid 4294967295 is nobody's")
	}
	a := account{credential: &syscall.Credential{Uid: uid, Gid: nogroup}, environment: []string{"HOME=/"}}
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	var unknown user.UnknownUserIdError
	switch {
	case errors.As(err, &unknown), errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return account{}, err
	default:
		if a.credential.Gid, a.credential.Groups, err = groupsOf(u); err != nil {
			return account{}, err
		}
		a.environment = []string{"HOME=" + u.HomeDir, "USER=" + u.Username, "LOGNAME=" + u.Username}
	}
	if os.Geteuid() != 0 {
		if int(uid) != os.Geteuid() {
			return account{}, fmt.Errorf("only root can start programs of other users; this process runs as uid %d", os.Geteuid())
		}
		a.credential = nil
	}
	return a, nil
}

func groupsOf(u *user.User) (gid uint32, groups []uint32, err error) {
	ids, err := u.GroupIds()
	if err != nil {
		return 0, nil, fmt.Errorf("groups of %s: %w", u.Username, err)
	}
	for _, id := range append([]string{u.Gid}, ids...) {
		n, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return 0, nil, fmt.Errorf("groups of %s: %w", u.Username, err)
		}
		groups = append(groups, uint32(n))
	}
	return groups[0], groups[1:], nil
}

// head keeps the beginning of what is written to it, for the log.
type head struct{ kept []byte }

const maxOutput = 1024

func (h *head) Write(b []byte) (int, error) {
	h.kept = append(h.kept, b[:min(len(b), maxOutput-len(h.kept))]...)
	return len(b), nil
}

func (h *head) text() string { return strings.TrimSpace(strings.ToValidUTF8(string(h.kept), "\uFFFD")) }

func ownerOf(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }
