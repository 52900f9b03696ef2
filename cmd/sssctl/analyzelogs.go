package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"gosssd/cmd/sssctl/analyze"
	"gosssd/responder"
)

// longestLine bounds a line of a log in memory; the longest that is written are
// far shorter.
const longestLine = 1 << 20

// kcmLog is the name of the log of sssd_kcm, and what those of rotated ones
// begin with.
const kcmLog = "sssd_kcm.log"

// readLogs adds the log files of sssd_kcm to a history, the oldest first, and
// returns what is to be said of those that could not be read.
func (t *tool) readLogs(h *analyze.History, since time.Time) (notes []string, err error) {
	dir := t.root.Path(responder.LogDir)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	type log struct {
		path    string
		written time.Time
	}
	var logs []log
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || !strings.HasPrefix(entry.Name(), kcmLog) || info.Size() == 0 || info.ModTime().Before(since) {
			continue
		}
		logs = append(logs, log{filepath.Join(dir, entry.Name()), info.ModTime()})
	}
	if len(logs) == 0 {
		return nil, fmt.Errorf("%s: there is no log of sssd_kcm with lines of that time; where it logs to the journal, use --journal", dir)
	}
	slices.SortStableFunc(logs, func(a, b log) int { return a.written.Compare(b.written) })
	for _, one := range logs {
		switch ext := filepath.Ext(one.path); ext {
		case ".xz", ".bz2", ".zst", ".lz4":
			notes = append(notes, fmt.Sprintf("%s is left out: it is compressed in a way that cannot be read; unpack it first.", one.path))
			continue
		}
		if err := readLog(h, one.path); err != nil {
			return notes, err
		}
	}
	return notes, nil
}

// readLog adds one log file, compressed by gzip or not.
func readLog(h *analyze.History, path string) error {
	file, _, err := openLog(path, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer file.Close()
	var from io.Reader = file
	if strings.HasSuffix(path, ".gz") {
		zipped, err := gzip.NewReader(file)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		from = zipped
	}
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, longestLine)
	for lines.Scan() {
		if line, ok := analyze.Parse(lines.Text(), time.Local); ok {
			h.Add(line)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// readJournal adds what sssd_kcm has written to the journal. Only root's entries
// count: everybody may write some of this name.
func readJournal(h *analyze.History, since time.Time) error {
	args := []string{"--output=json", "--all", "--quiet", "--no-pager", "SYSLOG_IDENTIFIER=sssd_kcm", "_UID=0"}
	if !since.IsZero() {
		args = append(args, "--since=@"+strconv.FormatInt(since.Unix(), 10))
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel() // ends journalctl where its output cannot be read
	command := exec.CommandContext(ctx, "journalctl", args...)
	var complaint bytes.Buffer
	command.Stderr = &complaint
	out, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return fmt.Errorf("the journal cannot be read: %w", err)
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, longestLine)
	for lines.Scan() {
		line, err := analyze.ParseJournal(lines.Bytes())
		if err != nil {
			cancel()
			return errors.Join(err, ended(ctx, command.Wait()))
		}
		h.Add(line)
	}
	if err := lines.Err(); err != nil {
		cancel()
		return errors.Join(fmt.Errorf("the journal cannot be read: %w", err), ended(ctx, command.Wait()))
	}
	if err := command.Wait(); err != nil {
		return fmt.Errorf("the journal cannot be read: journalctl: %w: %s", err, strings.TrimSpace(complaint.String()))
	}
	return nil
}

// ended is how a program ended, unless it was ended by us.
func ended(by context.Context, err error) error {
	if by.Err() != nil {
		return nil
	}
	return err
}

// parseSince reads the value of --since: how long ago, or a time.
func parseSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, "2006-01-02 15:04", time.DateOnly} {
		if at, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return at, nil
		}
	}
	for _, layout := range []string{"15:04:05", "15:04"} {
		if at, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return time.Date(now.Year(), now.Month(), now.Day(), at.Hour(), at.Minute(), at.Second(), 0, now.Location()), nil
		}
	}
	return time.Time{}, fmt.Errorf("--since: %q is no time; expected is how long ago, as 90m, or as 2026-03-01 09:30, 2026-03-01 or 09:30", text)
}
