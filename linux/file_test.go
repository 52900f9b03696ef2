package linux

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func write(text string) func(*os.File) error {
	return func(f *os.File) error {
		_, err := f.WriteString(text)
		return err
	}
}

// names are those in a directory.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func expect(t *testing.T, path, text string, mode fs.FileMode) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil || string(data) != text {
		t.Errorf("%s holds %q, %v; want %q", path, data, err, text)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != mode {
		t.Errorf("mode %v, %v; want %v", info.Mode(), err, mode)
	}
}

func TestAFileIsReplacedAndNothingElseIsLeft(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	for _, text := range []string{"one", "two"} {
		if err := Replace(path, 0o640, write(text)); err != nil {
			t.Fatal(err)
		}
		expect(t, path, text, 0o640)
	}
	if got := names(t, filepath.Dir(path)); len(got) != 1 {
		t.Errorf("litter: %v", got)
	}
}

func TestAFailedWriteLeavesTheOldFileAndNoLitter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	if err := Replace(path, 0o600, write("old")); err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused")
	for name, put := range map[string]func(string, fs.FileMode, func(*os.File) error) error{"Replace": Replace, "Create": Create} {
		err := put(path, 0o600, func(f *os.File) error {
			return errors.Join(write("half")(f), refused)
		})
		if !errors.Is(err, refused) {
			t.Errorf("%s: %v, want the error of the writer", name, err)
		}
	}
	expect(t, path, "old", 0o600)
	if got := names(t, filepath.Dir(path)); len(got) != 1 {
		t.Errorf("litter: %v", got)
	}
}

func TestWhileAFileIsWrittenItHasNoName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	err := Replace(path, 0o600, func(f *os.File) error {
		if got := names(t, filepath.Dir(path)); len(got) != 0 {
			t.Errorf("a process that is killed now leaves %v", got)
		}
		return write("text")(f)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCreateLeavesAFileThatIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	if err := Create(path, 0o600, write("first")); err != nil {
		t.Fatal(err)
	}
	if err := Create(path, 0o600, write("second")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, want fs.ErrExist", err)
	}
	expect(t, path, "first", 0o600)
}

func TestWhatAKilledProcessLeftIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(Beside(path), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Replace(path, 0o600, write("whole")); err != nil {
		t.Fatal(err)
	}
	expect(t, path, "whole", 0o600)
	if got := names(t, filepath.Dir(path)); len(got) != 1 {
		t.Errorf("litter: %v", got)
	}
}

func TestWhereFilesNeedNamesTheyAreWrittenBeside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(Beside(path), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := openNamed(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := write("whole")(d.file); err != nil {
		t.Fatal(err)
	}
	if err := d.link(path); err != nil {
		t.Fatal(err)
	}
	d.close()
	expect(t, path, "whole", 0o600)
	if got := names(t, filepath.Dir(path)); len(got) != 1 {
		t.Errorf("litter: %v", got)
	}
}

func TestWritersOfOneFileDoNotMixIt(t *testing.T) {
	for name, replace := range map[string]func(path, text string) error{
		"unnamed": func(path, text string) error { return Replace(path, 0o600, write(text)) },
		"named":   replaceNamed,
	} {
		t.Run(name, func(t *testing.T) { writeTogether(t, replace) })
	}
}

// replaceNamed replaces a file as Replace does on a file system without unnamed
// files.
func replaceNamed(path, text string) error {
	d, err := openNamed(path)
	if err != nil {
		return err
	}
	defer d.close()
	if err := write(text)(d.file); err != nil {
		return err
	}
	return os.Rename(d.name, path)
}

func writeTogether(t *testing.T, replace func(path, text string) error) {
	path := filepath.Join(t.TempDir(), "x")
	var writers sync.WaitGroup
	for i := range 8 {
		writers.Go(func() {
			for range 20 {
				text := string(bytes.Repeat(fmt.Append(nil, i), 5000))
				if err := replace(path, text); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	data, err := os.ReadFile(path)
	if err != nil || len(data) != 5000 || len(bytes.Trim(data, string(data[:1]))) > 0 {
		t.Errorf("%d bytes of more than one writer, %v", len(data), err)
	}
	if got := names(t, filepath.Dir(path)); len(got) != 1 {
		t.Errorf("litter: %v", got)
	}
}

func TestDirectoriesHaveTheirModeWhateverTheUmask(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "there"), 0o700); err != nil {
		t.Fatal(err)
	}
	defer unix.Umask(unix.Umask(0o077))
	for range 2 {
		if err := MakeDirs(filepath.Join(dir, "there/a/b"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]fs.FileMode{"there": 0o700, "there/a": 0o755, "there/a/b": 0o755} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %o, %v; want %o", name, info.Mode().Perm(), err, want)
		}
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, file + "/below"} {
		if err := MakeDirs(path, 0o755); err == nil {
			t.Errorf("%s is taken for a directory", path)
		}
	}
}
