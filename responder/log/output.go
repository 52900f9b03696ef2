package log

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
	"golang.org/x/sys/unix"
)

// entry is one line before it is laid out.
type entry struct {
	bit    Level
	client uint64
	text   string
	place  uintptr           // of the call that wrote it, in the program
	fields map[string]string // for the journal; nil for all else
}

// line lays an entry out as SSSD 2.x does:
//
//	(2026-11-23  9:05:00): [kcm] [function] (0x0400): [CID#3] text
//
// The hour is padded with a blank; log parsers know it so.
func (o Options) line(e entry) []byte {
	b := make([]byte, 0, 96+len(e.text))
	if o.Timestamps {
		b = o.appendTime(b, time.Now())
	}
	b = append(b, '[')
	b = append(b, o.Program...)
	b = append(b, "] ["...)
	_, _, function := e.position()
	b = append(b, function...)
	b = fmt.Appendf(b, "] (0x%04x): ", uint32(e.bit))
	b = appendClient(b, e.client)
	b = append(b, e.text...)
	return append(b, '\n')
}

func (o Options) appendTime(b []byte, t time.Time) []byte {
	b = append(b, '(')
	b = t.AppendFormat(b, "2006-01-02 ")
	if t.Hour() < 10 {
		b = append(b, ' ')
	}
	b = strconv.AppendInt(b, int64(t.Hour()), 10)
	b = t.AppendFormat(b, ":04:05")
	if o.Microseconds {
		b = fmt.Appendf(b, ":%06d", t.Nanosecond()/1000)
	}
	return append(b, "): "...)
}

func appendClient(b []byte, id uint64) []byte {
	if id == 0 {
		return b
	}
	b = append(b, "[CID#"...)
	b = strconv.AppendUint(b, id, 10)
	return append(b, "] "...)
}

// output is a destination of lines.
type output interface {
	write(Options, entry)
	writeRaw(line []byte)
	reopen() error
}

// stream writes to a stream or file; it may be reopened if it has a path.
type stream struct {
	mu     sync.Mutex
	w      io.Writer
	path   string
	looked time.Time // at the path
}

// lookEvery is how long a file may have another name before that is noticed.
const lookEvery = time.Second

// openFile returns a stream to the file at path. If that cannot be opened, the
// stream goes to stderr, until it can be reopened.
func openFile(path string) (*stream, error) {
	f, err := openLog(path)
	if err != nil {
		return &stream{w: os.Stderr, path: path}, err
	}
	return &stream{w: f, path: path}, nil
}

// openLog opens a log for appending, or makes it. A link or anything else that
// is no regular file is refused: whoever may write to the directory would else
// choose where we, who may write anywhere, write.
func openLog(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	switch {
	case errors.Is(err, unix.ELOOP):
		return nil, fmt.Errorf("%s is a symbolic link, expected a regular file", path)
	case err != nil:
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func (s *stream) write(o Options, e entry) { s.writeRaw(o.line(e)) }

// writeRaw has nobody to report a failed write to.
func (s *stream) writeRaw(line []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); s.path != "" && now.Sub(s.looked) >= lookEvery {
		s.looked = now
		if s.moved() {
			_ = s.open() // else the old file is better than none
		}
	}
	_, _ = s.w.Write(line)
}

// moved reports whether the file has been renamed or deleted. Beside an SSSD,
// its entry of logrotate renames all logs, and its sssctl deletes them, and both
// then tell SSSD's programs only.
func (s *stream) moved() bool {
	file, ok := s.w.(*os.File)
	if !ok || file == os.Stderr {
		return false
	}
	ours, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(s.path)
	return errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(ours, there)
}

func (s *stream) reopen() error {
	if s.path == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open()
}

// open makes the file at the path the one that is written to.
func (s *stream) open() error {
	f, err := openLog(s.path)
	if err != nil {
		return err
	}
	old := s.w
	s.w = f
	if old == os.Stderr {
		return nil
	}
	return old.(*os.File).Close()
}

// journald sends entries to journald with SSSD's fields; what journald does not
// take goes to stderr.
type journald struct{ program string }

func (j journald) write(o Options, e entry) {
	text := string(appendClient(nil, e.client)) + e.text
	file, line, function := e.position()
	fields := map[string]string{
		"SYSLOG_IDENTIFIER": "sssd_" + j.program,
		"SSSD_DOMAIN":       "",
		"SSSD_PRG_NAME":     "sssd[" + j.program + "]",
		"SSSD_DEBUG_LEVEL":  strconv.FormatUint(uint64(e.bit), 16),
		"CODE_FILE":         file,
		"CODE_LINE":         strconv.Itoa(line),
		"CODE_FUNC":         function,
	}
	maps.Copy(fields, e.fields)
	if err := journal.Send(text, journal.Priority(e.bit.priority()), fields); err != nil {
		j.writeRaw(o.line(e))
	}
}

func (j journald) writeRaw(line []byte) { _, _ = os.Stderr.Write(line) }

func (j journald) reopen() error { return nil }
