package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// task is what one client process does. It gets it as JSON on its command line.
type task struct {
	Scenario string
	Socket   string
	Client   int           // number among the clients that run together
	Fresh    bool          // a connection for each request
	Duration time.Duration // 0: Steps
	Steps    int
	Rest     time.Duration // before each step, without a connection; not measured

	Cache       string // "": one of the client's own
	Credentials int    // in a cache that is only read
}

// report is what a client process measured.
type report struct {
	Steps   int
	Elapsed time.Duration
	Times   histogram
	Series  []time.Duration // of every step, where Steps says how many there are
}

// warmUp is the number of steps before those that are measured.
const warmUp = 3

// work runs a task: it prepares, says so, waits for the start, and reports.
func work(argument string) error {
	runtime.LockOSThread()
	debug.SetGCPercent(-1) // a collection would wait for the system calls
	debug.SetMemoryLimit(256 << 20)
	var t task
	if err := json.Unmarshal([]byte(argument), &t); err != nil {
		return err
	}
	c := &client{conn: newConn(t.Socket, t.Fresh), task: t, cache: t.Cache}
	if c.cache == "" {
		c.cache = fmt.Sprintf("%d:%s%d", os.Getuid(), t.Scenario, t.Client)
	}
	defer c.close()
	step, err := scenarios[t.Scenario](c)
	if err != nil {
		return fmt.Errorf("prepare %s: %w", t.Scenario, err)
	}
	for range warmUp {
		if err := step(); err != nil {
			return fmt.Errorf("warm up %s: %w", t.Scenario, err)
		}
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadByte(); err != nil {
		return fmt.Errorf("wait for the start: %w", err)
	}
	r, err := t.run(c, step)
	if err != nil {
		return fmt.Errorf("%s: %w", t.Scenario, err)
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

func (t task) run(c *client, step func() error) (report, error) {
	r := report{Times: histogram{}}
	start := time.Now()
	for before := start; (t.Steps == 0 || r.Steps < t.Steps) && (t.Duration == 0 || r.Elapsed < t.Duration); {
		if t.Rest > 0 {
			c.close()
			rest := unix.NsecToTimespec(t.Rest.Nanoseconds())
			_ = unix.Nanosleep(&rest, nil)
			before = time.Now()
		}
		if err := step(); err != nil {
			return r, err
		}
		now := time.Now()
		r.Times.add(now.Sub(before))
		if t.Steps > 0 {
			r.Series = append(r.Series, now.Sub(before))
		}
		r.Steps++
		r.Elapsed = now.Sub(start)
		before = now
	}
	return r, nil
}

// worker is a client process seen from outside.
type worker struct {
	process *exec.Cmd
	start   io.WriteCloser
	output  *bufio.Reader
}

// startWorker starts a client process of a user, which prepares at once.
func startWorker(program string, uid int, t task) (*worker, error) {
	argument, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	w := &worker{process: exec.Command(program, "worker", string(argument))}
	w.process.Env = []string{"GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1"}
	w.process.Stderr = os.Stderr
	w.process.Dir = "/"
	if uid != os.Getuid() {
		w.process.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	if w.start, err = w.process.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := w.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	w.output = bufio.NewReader(out)
	if err := w.process.Start(); err != nil {
		return nil, fmt.Errorf("client of uid %s: %w", strconv.Itoa(uid), err)
	}
	return w, nil
}

func (w *worker) ready() error {
	line, err := w.output.ReadString('\n')
	if err == nil && line != "ready\n" {
		err = fmt.Errorf("a client said %q", line)
	}
	return err
}

// finish returns the report after the process has ended.
func (w *worker) finish() (report, error) {
	var r report
	err := json.NewDecoder(w.output).Decode(&r)
	if waited := w.process.Wait(); waited != nil {
		err = waited
	}
	return r, err
}

// stop ends a process that may not have got to its report.
func (w *worker) stop() {
	if w.process.ProcessState == nil {
		_ = w.process.Process.Kill()
		_ = w.process.Wait()
	}
}
