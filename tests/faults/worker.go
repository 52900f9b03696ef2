package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gosssd/kcm/client"
	"gosssd/kcm/protocol"
)

// task is what a client process does until its standard input ends.
type task struct {
	Do      string // "" is an honest user, "idle" a server
	Socket  string
	Secrets string // the socket of sssd_secrets, if there is one
	Fresh   bool   // a connection for each request

	OneByOne bool // the server lists no credentials at once
	Idle     bool // the server keeps nothing
}

// report is what an honest client saw.
type report struct {
	Requests, Failures    int
	First                 string // failure
	Median, P99, Longest  time.Duration
	Attacker              string // what an attacker has to say
	KCM, Secrets, LogSize int64  // bytes: the most memory of each, and what was logged
	Stopped               bool   // the server was stopped for its memory
}

// A request of the honest user is due every pace, and its time is counted from
// when it was due: who has to wait for one is late for the next ones too.
const (
	pace     = 25 * time.Millisecond
	patience = 20 * time.Second
)

func work(argument string) error {
	var t task
	if err := json.Unmarshal([]byte(argument), &t); err != nil {
		return err
	}
	stop := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	var r report
	switch t.Do {
	case "":
		r = honest(t, stop)
	case "idle":
		if err := serveIdle(t.Socket, stop); err != nil {
			return err
		}
	default:
		a := &attacker{task: t, stop: stop}
		a.run()
		r.Attacker = a.said
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

func principal(components ...string) protocol.Principal {
	p := protocol.Principal{Type: 1, Realm: []byte("R")}
	for _, c := range components {
		p.Components = append(p.Components, []byte(c))
	}
	return p
}

func ticket(service string, size int) protocol.Credential {
	return protocol.Credential{
		Client: principal("g"), Server: principal(service), Times: protocol.Times{End: 0x7fffffff}, Ticket: make([]byte, size),
	}
}

// honest logs in, stores and lists until the end.
func honest(t task, stop <-chan struct{}) (r report) {
	c := client.New(t.Socket, patience)
	name := fmt.Sprint(os.Getuid())
	steps := []func() error{
		func() error { return c.Initialize(name, principal("g")) },
		func() error { return c.Store(name, ticket("krbtgt", 1500)) },
		func() error { return c.Store(name, ticket("host", 1500)) },
		func() error {
			n, err := t.count(c, name)
			if err == nil && n != 2 && !t.Idle {
				err = fmt.Errorf("%d credentials", n)
			}
			return err
		},
	}
	var took []time.Duration
	due := time.Now()
	for i := 0; ; i++ {
		select {
		case <-stop:
			r.sum(took)
			return r
		case <-time.After(time.Until(due)):
		}
		if err := steps[i%len(steps)](); err != nil {
			if r.Failures++; r.First == "" {
				r.First = words(err)
			}
			_ = c.Close()
			i = -1 // what follows would fail for want of this one
		}
		if t.Fresh {
			_ = c.Close()
		}
		took = append(took, time.Since(due))
		due = due.Add(pace)
	}
}

// count lists a cache's credentials, and returns how many there are.
func (t task) count(c *client.Client, name string) (int, error) {
	if !t.OneByOne {
		got, err := c.Credentials(name)
		return len(got), err
	}
	ids, err := c.Call(protocol.OpGetCredUUIDList, protocol.AppendName(nil, name))
	ids = bytes.Clone(ids)
	n := len(ids) / 16
	for ; err == nil && len(ids) >= 16; ids = ids[16:] {
		_, err = c.Call(protocol.OpGetCredByUUID, protocol.AppendName(nil, name), ids[:16])
	}
	return n, err
}

func (r *report) sum(took []time.Duration) {
	if r.Requests = len(took); r.Requests == 0 {
		return
	}
	slices.Sort(took)
	r.Median, r.P99, r.Longest = took[len(took)/2], took[len(took)*99/100], took[len(took)-1]
}

// words are what a client would print.
func words(err error) string {
	var refused *client.Error
	switch {
	case err == nil:
		return "served"
	case errors.As(err, &refused):
		return refused.Code.String()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "no answer"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ENOENT):
		return "no socket"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection closed"
	}
	return err.Error()
}

// worker is a client process seen from outside.
type worker struct {
	process *exec.Cmd
	until   io.Closer
	output  io.Reader
}

func hire(uid uint32, t task) (*worker, error) {
	argument, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	w := &worker{process: exec.Command("/proc/self/exe", "worker", string(argument))}
	w.process.Stderr = os.Stderr
	w.process.Dir = "/"
	w.process.Env = []string{"GOMEMLIMIT=256MiB"}
	w.process.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}, Pdeathsig: syscall.SIGKILL, Setsid: true}
	if w.until, err = w.process.StdinPipe(); err != nil {
		return nil, err
	}
	if w.output, err = w.process.StdoutPipe(); err != nil {
		return nil, err
	}
	return w, startSession(w.process)
}

// startSession starts a program that is to begin a session, as a login or a
// service manager does. Linux shares the processors between sessions first, and
// nice counts within one only: so this one gets the priority of this program.
func startSession(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	priority, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err == nil { // a kernel that groups by something else has no such file
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", cmd.Process.Pid), fmt.Append(nil, 20-priority), 0)
	}
	return nil
}

// finish lets it come to its end, and returns its report.
func (w *worker) finish() (r report, err error) {
	_ = w.until.Close()
	late := time.AfterFunc(2*patience, func() { _ = w.process.Process.Kill() })
	defer late.Stop()
	err = json.NewDecoder(w.output).Decode(&r)
	return r, errors.Join(err, w.process.Wait())
}
