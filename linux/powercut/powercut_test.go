package powercut

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEveryStateIsFound: a log of a few calls, and all that the disk may hold.
func TestEveryStateIsFound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		log  []string
		want string
	}{
		"two sectors are kept or not": {
			[]string{`1 pwrite64(7<DIR/f>, "AB", 2, 511) = 2`}, "[.. .B A. AB]",
		},
		"what is synced stays": {
			[]string{`1 pwrite64(7<DIR/f>, "AB", 2, 511) = 2`, `1 fdatasync(7<DIR/f>) = 0`}, "[AB]",
		},
		"a sync is done when it has ended": {
			[]string{`1 pwrite64(7<DIR/f>, "A", 1, 511) = 1`, `1 fdatasync(7<DIR/f> <unfinished ...>`, `2 write(1<pipe>, "x", 1) = 1`}, "[.. A.]",
		},
		"a sync of another file does nothing": {
			[]string{`1 pwrite64(7<DIR/f>, "A", 1, 511) = 1`, `1 fsync(7<DIR/other>) = 0`}, "[.. A.]",
		},
		"a sync after one that failed does nothing": {
			[]string{`1 pwrite64(7<DIR/f>, "A", 1, 511) = 1`, `1 fdatasync(7<DIR/f>) = -1 EIO (Input/output error) (INJECTED)`, `1 fdatasync(7<DIR/f>) = 0`}, "[.. A.]",
		},
		"what was written again after it stays": {
			[]string{
				`1 pwrite64(7<DIR/f>, "A", 1, 511) = 1`, `1 fdatasync(7<DIR/f>) = -1 EIO (Input/output error) (INJECTED)`,
				`1 pwrite64(7<DIR/f>, "A", 1, 511) = 1`, `1 fdatasync(7<DIR/f>) = 0`,
			}, "[A.]",
		},
		"a new file may be missing": {
			[]string{
				`1 openat(AT_FDCWD<DIR>, "DIR", O_RDWR|O_TMPFILE, 0600) = 8<DIR/#5>(deleted)`, `1 write(8<DIR/#5>(deleted), "new", 3) = 3`,
				`1 fsync(8<DIR/#5>(deleted)) = 0`, `1 linkat(AT_FDCWD<DIR>, "/proc/self/fd/8", AT_FDCWD<DIR>, "DIR/.f.new", AT_SYMLINK_FOLLOW) = 0`,
				`1 renameat(AT_FDCWD<DIR>, "DIR/.f.new", AT_FDCWD<DIR>, "DIR/f") = 0`,
			}, "[.. new]",
		},
		"and is there when its directory was synced": {
			[]string{
				`1 openat(AT_FDCWD<DIR>, "DIR", O_RDWR|O_TMPFILE, 0600) = 8<DIR/#5>(deleted)`, `1 write(8<DIR/#5>(deleted), "new", 3) = 3`,
				`1 linkat(AT_FDCWD<DIR>, "/proc/self/fd/8", AT_FDCWD<DIR>, "DIR/.f.new", AT_SYMLINK_FOLLOW) = 0`,
				`1 renameat(AT_FDCWD<DIR>, "DIR/.f.new", AT_FDCWD<DIR>, "DIR/f") = 0`, `1 fsync(9<DIR>) = 0`,
			}, "[ new]", // its contents were not synced
		},
		"a smaller size": {
			[]string{`1 ftruncate(7<DIR/f>, 512) = 0`}, "[. ..]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			before := []string{
				`1 openat(AT_FDCWD<DIR>, "DIR", O_RDWR|O_TMPFILE, 0600) = 7<DIR/#1>(deleted)`,
				`1 pwrite64(7<DIR/#1>(deleted), "` + strings.Repeat(".", 513) + `", 513, 0) = 513`, `1 fsync(7<DIR/#1>(deleted)) = 0`,
				`1 linkat(AT_FDCWD<DIR>, "/proc/self/fd/7", AT_FDCWD<DIR>, "DIR/f", AT_SYMLINK_FOLLOW) = 0`, `1 fsync(9<DIR>) = 0`,
			}
			log := filepath.Join(t.TempDir(), "log")
			text := strings.ReplaceAll(strings.Join(append(before, c.log...), "\n"), "DIR", dir)
			if err := os.WriteFile(log, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			trace, err := Read(log, dir)
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			for state := range trace.States(2000, rand.New(rand.NewPCG(1, 2))) {
				if state.After == len(trace.events) {
					seen[strings.TrimPrefix(string(state.Files["f"]), strings.Repeat(".", 511))] = true
				}
			}
			if got := fmt.Sprint(sorted(seen)); got != c.want {
				t.Errorf("the file ends with one of %s, want %s", got, c.want)
			}
		})
	}
}

func sorted(seen map[string]bool) []string {
	var all []string
	for _, text := range []string{"", ".", "..", ".B", "A.", "AB", "new"} {
		if seen[text] {
			all = append(all, text)
			delete(seen, text)
		}
	}
	for text := range seen {
		all = append(all, "unexpected "+text)
	}
	return all
}
