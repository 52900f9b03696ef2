package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tooMuch is the memory at which a server is stopped, so that the machine
// survives the attack.
const tooMuch = 3 << 30

// readable waits a little until a descriptor can be read.
func readable(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 20)
	return n > 0 && err == nil
}

// memory reads a figure, in bytes, of the state of a process.
func memory(pid int, figure string) (bytes int64) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil || pid == 0 {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), figure+":")
	_, _ = fmt.Sscan(rest, &bytes)
	return bytes << 10
}

// resident is memory that a process has now: what is its own, which the machine
// gets back by no other means than its doing, and pages of files, of which the
// system keeps a copy for as long as it has nothing better to do with the room.
type resident struct{ own, files int64 }

func (r resident) all() int64 { return r.own + r.files }

func residentOf(pid int) resident {
	return resident{own: memory(pid, "RssAnon"), files: memory(pid, "RssFile") + memory(pid, "RssShmem")}
}

// resident is what the programs have in memory now.
func (s *server) resident() (kcm, secrets resident) {
	return residentOf(s.pid("sssd_kcm")), residentOf(s.pid("sssd_secrets"))
}

// watch notes the most memory that the programs have until stop is closed, and
// kills one that has too much.
func (s *server) watch(stop <-chan struct{}, r *report) {
	for _, program := range []string{"sssd_kcm", "sssd_secrets"} {
		if pid := s.pid(program); pid != 0 { // lets VmHWM begin anew
			_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
		}
	}
	for {
		select {
		case <-stop:
			return
		case <-time.After(20 * time.Millisecond):
		}
		for program, most := range map[string]*int64{"sssd_kcm": &r.KCM, "sssd_secrets": &r.Secrets} {
			pid := s.pid(program)
			*most = max(*most, memory(pid, "VmHWM"))
			if memory(pid, "VmRSS") > tooMuch && pid != 0 {
				_ = syscall.Kill(pid, syscall.SIGKILL)
				r.Stopped = true
			}
		}
	}
}
