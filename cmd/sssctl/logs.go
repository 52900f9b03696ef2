package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"gosssd/cmd/responders"
	"gosssd/layout"
	"gosssd/linux"
	"gosssd/responder"
)

func (t *tool) logsRemoveCommand() *cobra.Command {
	var remove bool
	c := &cobra.Command{
		Use:   "logs-remove",
		Short: "Empty the log files, or delete them",
		Args:  arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if remove {
				fmt.Fprintln(c.OutOrStdout(), "Deleting log files...")
				err = deleteLogs(t.root.Path(responder.LogDir))
			} else {
				fmt.Fprintln(c.OutOrStdout(), "Truncating log files...")
				err = truncateLogs(t.root.Path(responder.LogDir))
			}
			return errors.Join(err, t.rotateLogs())
		},
	}
	c.Flags().BoolVarP(&remove, "delete", "d", false, "delete rotated logs too, and whatever else is ours in the log directory, and begin new files")
	return c
}

func (t *tool) logsFetchCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "logs-fetch FILE",
		Short: "Archive the log files as FILE, a compressed tar archive",
		Args:  arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			fmt.Fprintf(c.OutOrStdout(), "Archiving log files into %s...\n", args[0])
			return archiveLogs(args[0], t.root.Path(responder.LogDir))
		},
	}
}

// rotateLogs makes all programs that run reopen their log files.
func (t *tool) rotateLogs() error {
	_, err := t.monitor("RotateLogs")
	if !errors.Is(err, errNotRunning) {
		return err
	}
	var problems []error
	for _, d := range responders.List() { // systemd can start them without the monitor
		if pid := responder.HolderPID(t.root.Path(d.ClaimPath())); pid != 0 {
			problems = append(problems, syscall.Kill(pid, syscall.SIGHUP))
		}
	}
	return errors.Join(problems...)
}

// logFiles are the logs that are written now, without rotated ones.
func logFiles(dir string) ([]string, error) {
	paths, err := ourFiles(dir)
	return slices.DeleteFunc(paths, func(path string) bool { return !strings.HasSuffix(path, ".log") }), err
}

// ourFiles are the files in the directory of logs that are ours.
func ourFiles(dir string) ([]string, error) {
	ours := regexp.MustCompile(`^(` + layout.Current().Logs + `)$`)
	entries, err := os.ReadDir(dir)
	var paths []string
	for _, entry := range entries {
		if ours.MatchString(entry.Name()) {
			paths = append(paths, filepath.Join(dir, entry.Name()))
		}
	}
	return paths, err
}

// openLog opens a log that is a file, and neither a link nor a device that
// somebody has put there.
func openLog(path string, flags int) (*os.File, os.FileInfo, error) {
	file, err := os.OpenFile(path, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		_ = file.Close()
		return nil, nil, err
	}
	return file, info, nil
}

// truncateLogs empties the logs. Programs append to them and go on at the
// new end.
func truncateLogs(dir string) error {
	paths, err := logFiles(dir)
	problems := []error{err}
	for _, path := range paths {
		file, _, err := openLog(path, os.O_WRONLY)
		if err == nil {
			err = errors.Join(file.Truncate(0), file.Close())
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

func deleteLogs(dir string) error {
	paths, err := ourFiles(dir)
	problems := []error{err}
	for _, path := range paths {
		problems = append(problems, os.RemoveAll(path))
	}
	return errors.Join(problems...)
}

// archiveLogs puts the archive at its name when it is whole, so that a failure
// leaves what was there. Logs are private, and so is the archive.
func archiveLogs(name, dir string) error {
	paths, err := logFiles(dir)
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		return fmt.Errorf("there are no log files in %s", dir)
	}
	if info, err := os.Lstat(name); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", name)
	}
	return linux.Replace(name, 0o600, func(file *os.File) error { return archiveTo(file, paths) })
}

func archiveTo(file *os.File, paths []string) (err error) {
	zipped := gzip.NewWriter(file)
	archive := tar.NewWriter(zipped)
	for _, path := range paths {
		if err = addLog(archive, path); err != nil {
			break
		}
	}
	return errors.Join(err, archive.Close(), zipped.Close())
}

// addLog adds a log as long as it is now, under the name it has on the
// machine it is of.
func addLog(archive *tar.Writer, path string) error {
	file, info, err := openLog(path, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer file.Close()
	header, err := tar.FileInfoHeader(info, "")
	if err != nil {
		return err
	}
	header.Name = strings.TrimPrefix(filepath.Join(responder.LogDir, info.Name()), "/")
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	if _, err := io.CopyN(archive, file, info.Size()); err != nil {
		return fmt.Errorf("%s was cut short while it was read: %w", path, err)
	}
	return nil
}
