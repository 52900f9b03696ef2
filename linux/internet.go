package linux

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data (seccomp(2)) of little-endian machines, which
// all those in archOf are.
const (
	offsetCall = 0
	offsetArch = 4
	offsetArg0 = 16
)

// archOf is what the kernel calls the architectures whose system calls are
// known here (AUDIT_ARCH_* of linux/audit.h).
var archOf = map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}

// firstForeign is the first number of a system call of x32, of which amd64 has
// a second set.
const firstForeign = 0x40000000

// GiveUpInternet leaves the process, and all that it will execute, no sockets
// but those of the machine itself (AF_UNIX): socket(2) fails with EAFNOSUPPORT,
// as by systemd's RestrictAddressFamilies=. Sockets that are open stay. There is
// no way back. It needs no privilege: the process and its children can gain none
// any more, either.
func GiveUpInternet() error {
	arch, known := archOf[runtime.GOARCH]
	if !known {
		return fmt.Errorf("forbid sockets: the system calls of %s are not known", runtime.GOARCH)
	}
	filter := unixSocketsOnly(arch)
	// No new privileges is a thread's own; the filter brings it to the others.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("forbid sockets: no new privileges: %w", err)
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	stuck, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return fmt.Errorf("forbid sockets: seccomp: %w", errno)
	}
	if stuck != 0 {
		return fmt.Errorf("forbid sockets: thread %d has other filters", stuck)
	}
	return nil
}

// unixSocketsOnly is the filter. What could make a socket in another way, by
// system calls of another architecture or by io_uring, does not exist any more.
func unixSocketsOnly(arch uint32) []unix.SockFilter {
	const (
		load = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		same = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		from = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		give = unix.BPF_RET | unix.BPF_K
	)
	return []unix.SockFilter{
		0:  {Code: load, K: offsetArch},
		1:  {Code: same, K: arch, Jf: 8},
		2:  {Code: load, K: offsetCall},
		3:  {Code: from, K: firstForeign, Jt: 6},
		4:  {Code: same, K: unix.SYS_IO_URING_SETUP, Jt: 5},
		5:  {Code: same, K: unix.SYS_SOCKET, Jf: 2},
		6:  {Code: load, K: offsetArg0},
		7:  {Code: same, K: unix.AF_UNIX, Jf: 1},
		8:  {Code: give, K: unix.SECCOMP_RET_ALLOW},
		9:  {Code: give, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EAFNOSUPPORT)},
		10: {Code: give, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
	}
}
