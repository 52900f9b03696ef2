// Package powercut says, for tests, what a disk may hold after the power was
// cut. Strace records what a process asks of its files; a [Trace] is played onto
// a model of the disk, which loses what was not synced: of the names in the
// directory the last changes, of each file any of its sectors.
package powercut

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// kind is what an event did.
type kind int

const (
	written   kind = iota // data at an offset
	sized                 // the file got a size
	synced                // the file, or the directory where file is ""
	unsynced              // a sync that ended with an error
	made                  // a file without a name
	linked                // a file got a name
	renamed               // a name was changed
	removed               // a name was removed
	allocated             // the file got room: nothing that can be read
	said                  // the process wrote to its output
)

// event is one thing that a process did. A file that has no name yet is called
// "#" and its number.
type event struct {
	kind     kind
	file, to string
	at       int64
	data     []byte
}

// Trace is what a process did in one directory, in order.
type Trace struct{ events []event }

// Strace returns the arguments that have strace write a trace to log. Those of
// the program follow them.
func Strace(log string) []string {
	return []string{"-f", "--seccomp-bpf", "-y", "-xx", "-s", "100000000", "-o", log, "-e", "signal=none", "-e",
		"trace=openat,write,pwrite64,ftruncate,fallocate,fsync,fdatasync,linkat,renameat,renameat2,unlinkat"}
}

// Read reads what strace wrote about a directory. The output of the process is
// that to its descriptor 1.
func Read(log, dir string) (*Trace, error) {
	text, err := os.ReadFile(log)
	if err != nil {
		return nil, err
	}
	r := reader{dir: filepath.Clean(dir), unnamed: map[string]string{}, offsets: map[string]int64{}}
	for _, line := range finished(string(text)) {
		if err := r.call(line); err != nil {
			return nil, fmt.Errorf("%w in %.200q", err, line)
		}
	}
	if len(r.trace.events) == 0 {
		return nil, errors.New("the trace says nothing about " + dir)
	}
	return &r.trace, nil
}

// Count returns how many names were changed, files synced, and syncs failed.
func (t *Trace) Count() (names, syncs, failures int) {
	for _, e := range t.events {
		switch e.kind {
		case linked, renamed, removed:
			names++
		case synced:
			syncs++
		case unsynced:
			failures++
		}
	}
	return names, syncs, failures
}

// Unsynced returns a trace in which nothing waits for the disk, or, if that is
// asked for, no change of a name does.
func (t *Trace) Unsynced(namesOnly bool) *Trace {
	left := &Trace{}
	for _, e := range t.events {
		if e.kind != synced || namesOnly && e.file != "" {
			left.events = append(left.events, e)
		}
	}
	return left
}

// finished joins calls that strace split in two lines, at the place where they
// ended: only then is a sync done.
func finished(text string) []string {
	var lines []string
	begun := map[string]string{}
	for line := range strings.Lines(text) {
		pid, call, _ := strings.Cut(strings.TrimSpace(line), " ")
		call = strings.TrimSpace(call)
		if start, unfinished := strings.CutSuffix(call, "<unfinished ...>"); unfinished {
			begun[pid] = strings.TrimSpace(start)
			continue
		}
		if strings.HasPrefix(call, "<...") {
			_, end, _ := strings.Cut(call, "resumed>")
			call = begun[pid] + end
		}
		lines = append(lines, call)
	}
	return lines
}

// reader turns calls into events.
type reader struct {
	dir     string
	trace   Trace
	unnamed map[string]string // by descriptor
	offsets map[string]int64  // of files that are written from the beginning on
}

func (r *reader) add(e event) { r.trace.events = append(r.trace.events, e) }

func (r *reader) call(line string) error {
	name, rest, isCall := strings.Cut(line, "(")
	arguments, result, ended := strings.Cut(rest, ") ")
	if !isCall || !ended {
		return nil // the end of a process
	}
	fields := strings.Split(strings.TrimSpace(arguments), ", ")
	result = strings.TrimPrefix(strings.TrimSpace(result), "= ")
	failed := strings.HasPrefix(result, "-1")
	switch name {
	case "fsync", "fdatasync":
		if file, ours := r.file(fields[0]); ours && failed {
			r.add(event{kind: unsynced, file: file})
		} else if ours {
			r.add(event{kind: synced, file: file})
		}
		return nil
	}
	if failed {
		return nil
	}
	switch name {
	case "openat":
		if file, ours := r.file(result); ours && strings.HasPrefix(file, "#") {
			descriptor, _, _ := strings.Cut(result, "<")
			r.unnamed[descriptor] = file
			r.offsets[file] = 0
			r.add(event{kind: made, file: file})
		}
		return nil
	case "linkat", "renameat", "renameat2", "unlinkat":
		return r.naming(name, fields)
	}
	return r.content(name, fields)
}

// cutLast cuts at the last separator: what is before it may hold others.
func cutLast(text, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(text, separator); i >= 0 {
		return text[:i], text[i+len(separator):], true
	}
	return text, "", false
}

// naming reads a call that changes names.
func (r *reader) naming(name string, fields []string) error {
	if len(fields) < 2 {
		return errors.New("fields are missing")
	}
	from, err := unquoted(fields[1])
	if err != nil {
		return err
	}
	if name == "unlinkat" {
		if file, ours := r.named(string(from)); ours {
			r.add(event{kind: removed, file: file})
		}
		return nil
	}
	if len(fields) < 4 {
		return errors.New("fields are missing")
	}
	to, err := unquoted(fields[3])
	if err != nil {
		return err
	}
	target, ours := r.named(string(to))
	if !ours {
		return nil
	}
	if name == "linkat" {
		file := r.unnamed[strings.TrimPrefix(string(from), "/proc/self/fd/")]
		if file == "" {
			return errors.New("a link to a file that was not made without a name")
		}
		r.add(event{kind: linked, file: file, to: target})
		return nil
	}
	old, ours := r.named(string(from))
	if !ours {
		return errors.New("a file comes from another directory")
	}
	r.add(event{kind: renamed, file: old, to: target})
	return nil
}

// content reads a call that changes a file.
func (r *reader) content(name string, fields []string) error {
	if name == "write" && strings.HasPrefix(fields[0], "1<") {
		text, err := unquoted(fields[1])
		r.add(event{kind: said, data: text})
		return err
	}
	file, ours := r.file(fields[0])
	if !ours || file == "" {
		return nil
	}
	e := event{file: file}
	var err error
	switch name {
	case "write", "pwrite64":
		e.kind = written
		if e.data, err = unquoted(fields[1]); err != nil {
			return err
		}
		if name == "write" {
			e.at = r.offsets[file]
			r.offsets[file] += int64(len(e.data))
		} else {
			e.at, err = strconv.ParseInt(fields[3], 10, 64)
		}
	case "ftruncate":
		e.kind = sized
		e.at, err = strconv.ParseInt(fields[1], 10, 64)
	case "fallocate":
		e.kind = allocated
		if !strings.Contains(fields[1], "KEEP_SIZE") {
			err = errors.New("room that changes the size is not modelled")
		}
	}
	r.add(e)
	return err
}

// file returns the name of the file behind a descriptor, as strace shows it, ""
// for the directory itself.
func (r *reader) file(descriptor string) (name string, ours bool) {
	_, path, _ := strings.Cut(descriptor, "<")
	path, after, found := cutLast(path, ">")
	if !found {
		return "", false
	}
	b, err := unquoted(`"` + path + `"`)
	if err != nil {
		return "", false
	}
	name, ours = r.named(string(b))
	if strings.Contains(after, "deleted") && !strings.HasPrefix(name, "#") {
		return "", false // nobody will find it again
	}
	return name, ours
}

func (r *reader) named(path string) (name string, ours bool) {
	if path == r.dir {
		return "", true
	}
	name, ours = strings.CutPrefix(path, r.dir+"/")
	return name, ours && !strings.Contains(name, "/")
}

func unquoted(text string) ([]byte, error) {
	s, err := strconv.Unquote(text)
	return []byte(s), err
}
