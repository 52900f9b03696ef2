package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"gosssd/linux"
)

// faults are what comes over a server, in turn.
func (h *history) faults() []func() {
	all := []func(){h.killed("sssd_kcm", syscall.SIGKILL), h.stopped("sssd_kcm")}
	if !h.debian && h.storage == "memory" {
		return all
	}
	if h.heimdal {
		all[0] = func() {
			h.during("kcm killed and started", true, func() { _ = h.restart(); h.await(resumeLimit, h.answers) })
		}
		return all
	}
	all = append(all, h.fullDisk)
	if h.debian {
		return append(all, h.killed("sssd_kcm", syscall.SIGTERM))
	}
	if h.clock != "" {
		all = append(all, h.clockStepped)
	}
	return append(all, h.killed("sssd_secrets", syscall.SIGKILL), h.stopped("sssd_secrets"), h.restarted, h.moved, h.monitorKilled)
}

// find holds the process of a program. It is found once: a second look might
// find the next one, and the time in which the first is killed would excuse
// nobody who was with that.
func (h *history) find(program string) *linux.Process {
	pid := h.pid(program)
	if pid == 0 {
		return nil
	}
	p, err := linux.OpenProcess(pid)
	if err != nil {
		return nil
	}
	if h.pid(program) != pid {
		p.Close()
		return nil
	}
	return p
}

// killed kills a program. Requests are excused until it has ended, with which
// its connections are closed.
func (h *history) killed(program string, signal syscall.Signal) func() {
	return func() {
		p := h.find(program)
		if p == nil {
			h.during("no "+program+" to kill", false, func() {})
			return
		}
		defer p.Close()
		h.during(fmt.Sprintf("kill -%d %s, process %d", signal, program, p.PID), true, func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			if err := errors.Join(p.Signal(signal), p.Wait(ctx)); err != nil {
				h.complain(program+" cannot be killed", err)
			}
		})
	}
}

func (h *history) stopped(program string) func() {
	return func() {
		p := h.find(program)
		if p == nil {
			h.during("no "+program+" to stop", false, func() {})
			return
		}
		defer p.Close()
		h.during(fmt.Sprintf("SIGSTOP to %s, process %d", program, p.PID), false, func() {
			_ = p.Signal(syscall.SIGSTOP)
			time.Sleep(300 * time.Millisecond)
			_ = p.Signal(syscall.SIGCONT)
		})
	}
}

func (h *history) fullDisk() {
	filler := h.data() + "/filler"
	h.during("full disk", true, func() {
		_ = fillDisk(filler)
		time.Sleep(200 * time.Millisecond)
		_ = os.Remove(filler)
	})
}

// restarted is the restart that loses no request.
func (h *history) restarted() { h.sssctl("restart") }

// moved has the caches in another storage. Clients wait meanwhile, since
// caches stay where they are until sssctl moves them.
func (h *history) moved() {
	h.gate.Lock()
	defer h.gate.Unlock()
	from := h.storage
	h.storage = map[string]string{"secrets": "secdb", "secdb": "secrets"}[from]
	if err := os.WriteFile(h.dir+"/etc/sssd/sssd.conf", []byte(storageConf(h.storage)), 0o600); err != nil {
		h.complain("the storage cannot be changed", err)
	}
	h.sssctl("restart")
	h.sssctl("ccache", "move", from)
}

func (h *history) sssctl(words ...string) {
	command := "sssctl " + strings.Join(words, " ")
	h.during(command, false, func() {
		cmd := exec.Command(filepath.Join(h.bin, "sssctl"), append([]string{"--root", h.dir}, words...)...)
		cmd.Env = h.environment()
		out, err := cmd.CombinedOutput()
		if err != nil {
			h.complain(command+": "+strings.TrimSpace(string(out)), err)
		}
	})
}

// monitorKilled kills sssd, which no request depends on, and starts it again.
func (h *history) monitorKilled() {
	h.during("kill -9 sssd", false, func() {
		_ = h.process.Process.Kill()
		<-h.ended
	})
	if err := h.startOurs(); err != nil {
		h.complain("sssd cannot be started again", err)
	}
	h.stands()
}

// stands waits until sssd has taken over: before that, nobody might start a
// responder that is killed.
func (h *history) stands() {
	h.during("sssd takes over", false, func() {
		stands := func() error {
			return exec.Command(filepath.Join(h.bin, "sssctl"), "--root", h.dir, "status").Run()
		}
		if h.await(resumeLimit, stands) < 0 {
			h.complain("sssd does not stand again", stands())
		}
	})
}
