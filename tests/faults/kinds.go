package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// hangLimit is how long a server that hangs is waited for.
const hangLimit = 100 * time.Second

const secdb = "[kcm]\nccache_storage = secdb\n"

var full = []string{"no space left", "disk full", "enospc", "failed to", "i/o error"}

// faults are in the order of the table.
var faults = []fault{
	{name: "disk full, default storage", disk: "24m", words: full, lay: fullDisk},
	{name: "disk full, secdb", disk: "24m", conf: secdb, words: full, lay: fullDisk, ours: true},
	{name: "kill -9 of every process, five times under stores", words: []string{"killed", "signal 9", "signal: 9"}, lay: killed},
	{name: "sssd_kcm hangs (SIGSTOP), 4 clients of one user wait", words: []string{"hung", "ping", "does not answer", "watchdog"}, lay: func(x *experiment) { hang(x, "sssd_kcm") }, waits: true},
	{name: "sssd_secrets hangs (SIGSTOP), 4 clients of one user wait", words: []string{"hung", "ping", "does not answer"}, lay: func(x *experiment) { hang(x, "sssd_secrets") }, ours: true, waits: true},
	{name: "config.db truncated, then sssd_kcm is started anew", words: []string{"config.db", "config.ldb", "confdb"}, lay: badConfig},
	{name: "the socket is deleted", words: []string{"socket"}, lay: deletedSocket},
	{name: "the database is deleted while it is in use", words: []string{"removed", "deleted", "gone"}, lay: func(x *experiment) { replaced(x, os.Remove, "") }},
	{name: "the database is overwritten while it is in use, and put back", words: []string{"somebody else", "damage", "corrupt", "wrote to", "bad magic", "failed"}, lay: func(x *experiment) { replaced(x, overwrite, "put back") }},
	{name: "the database is truncated while it is in use, and put back", words: []string{"somebody else", "damage", "corrupt", "truncated", "shorter", "failed"}, lay: func(x *experiment) { replaced(x, truncate, "put back") }},
}

func fullDisk(x *experiment) {
	filler := x.data() + "/filler"
	if err := fillDisk(filler); err != nil {
		x.note(err.Error())
		return
	}
	c := x.client(alice, 10*time.Second)
	name := fmt.Sprint(alice)
	before := x.acked
	err := c.Store(name, ticket("large", 1<<20))
	_ = c.Close()
	x.note("a ticket of 1 MiB: " + words(err))
	x.look("", 10*time.Second)
	x.kill()
	if x.await(10*time.Second, x.answers) < 0 {
		x.note("after kill -9: no answer")
	}
	x.look("After kill -9: ", 10*time.Second)
	_ = os.Remove(filler)
	x.resumes()
	if err == nil {
		x.acked++
	} else if before > x.acked {
		x.acked = before
	}
}

// fillDisk writes to a file until the disk is full.
func fillDisk(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, size := range []int{64 << 10, 4096, 1} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			return err
		}
	}
	return nil
}

// killed kills while alice stores, and notes how many requests failed. A
// request that got no answer is sent again on a new connection, as a program
// does that is started again.
func killed(x *experiment) {
	stop := make(chan struct{})
	var storing sync.WaitGroup
	failures, longest := 0, time.Duration(0)
	storing.Go(func() {
		c := x.client(alice, patience)
		defer func() { _ = c.Close() }()
		for {
			select {
			case <-stop:
				return
			default:
			}
			begin := time.Now()
			if err := x.store(c); err != nil {
				failures++
				_ = c.Close()
				time.Sleep(10 * time.Millisecond)
			}
			longest = max(longest, time.Since(begin))
		}
	})
	for range 5 {
		time.Sleep(500 * time.Millisecond)
		x.kill()
	}
	time.Sleep(500 * time.Millisecond)
	close(stop)
	storing.Wait()
	x.note(fmt.Sprintf("%d of %d stores failed, the longest took %s", failures, failures+x.acked, brief(longest)))
	x.resumes()
}

// hang stops a process while four clients store, each on a connection of its own.
func hang(x *experiment, program string) {
	x.signal(program, syscall.SIGSTOP)
	begin := time.Now()
	saw := make([]string, 4)
	var waiting sync.WaitGroup
	for i := range saw {
		waiting.Go(func() {
			c := x.client(alice, hangLimit)
			defer func() { _ = c.Close() }()
			err := c.Store(fmt.Sprint(alice), ticket(fmt.Sprint("waiting", i), 1500))
			saw[i] = fmt.Sprintf("%s after %s", words(err), brief(time.Since(begin)))
		})
	}
	waiting.Wait()
	x.note(strings.Join(saw, ", "))
	x.resumes()
}

func badConfig(x *experiment) {
	db := x.data() + "/db/config.db"
	if x.debian {
		db = x.data() + "/db/config.ldb"
	}
	if err := os.Truncate(db, 1000); err != nil {
		x.note(err.Error())
		return
	}
	x.kill()
	x.look("", 10*time.Second)
	x.resumes()
}

func deletedSocket(x *experiment) {
	if err := os.Remove(x.socket()); err != nil {
		x.note(err.Error())
		return
	}
	x.look("", 5*time.Second)
	x.resumes()
}

func overwrite(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(bytes.Repeat([]byte("garbage "), 8192))
	return errors.Join(err, f.Close())
}

func truncate(path string) error { return os.Truncate(path, 8192) }

// replaced does something to the database that is in use, and may put it back.
func replaced(x *experiment, do func(path string) error, then string) {
	path := x.database()
	good, err := os.ReadFile(path)
	if err == nil {
		err = do(path)
	}
	if err != nil {
		x.note(err.Error())
		return
	}
	x.look("", 10*time.Second)
	x.look("Again: ", 10*time.Second)
	if then == "" {
		x.count() // what is there when the service is started anew
		if _, err := os.Stat(path); err == nil {
			x.note("There is a new, empty database")
		}
		x.resumes()
		return
	}
	x.acked = 20 // of what was stored since, the copy knows nothing
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err == nil {
		_, err = io.Copy(f, bytes.NewReader(good))
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		x.note(err.Error())
	}
	x.resumes()
}
