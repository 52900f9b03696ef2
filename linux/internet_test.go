package linux_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"gosssd/linux"
)

// TestSocketsOfTheInternetAreGivenUp runs itself, for there is no way back.
func TestSocketsOfTheInternetAreGivenUp(t *testing.T) {
	if os.Getenv("GIVE_UP_INTERNET") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), "GIVE_UP_INTERNET=yes")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	open, err := net.Listen("tcp", "127.0.0.1:0") // it can before, and this one stays
	if err != nil {
		t.Skipf("this machine has no network: %v", err)
	}
	defer open.Close()
	if err := linux.GiveUpInternet(); err != nil {
		t.Fatal(err)
	}
	var threads sync.WaitGroup
	for range 8 {
		threads.Go(func() {
			for _, family := range []int{unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK, unix.AF_PACKET, unix.AF_VSOCK} {
				if fd, err := unix.Socket(family, unix.SOCK_DGRAM, 0); !errors.Is(err, unix.EAFNOSUPPORT) {
					t.Errorf("a socket of family %d: %d, %v", family, fd, err)
				}
			}
		})
	}
	threads.Wait()
	if _, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, 0, 0); errno != unix.ENOSYS {
		t.Errorf("io_uring_setup: %v", errno)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatalf("sockets of the machine itself: %v", err)
	}
	_, _ = unix.Close(pair[0]), unix.Close(pair[1])
	l, err := linux.Listen(t.TempDir()+"/s", 0o600)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := open.Close(); err != nil {
		t.Errorf("the socket that was open: %v", err)
	}
	if err := exec.Command("/bin/true").Run(); err != nil {
		t.Errorf("no program can be executed: %v", err)
	}
	if err := linux.GiveUpInternet(); err != nil {
		t.Errorf("for the second time: %v", err)
	}
}
