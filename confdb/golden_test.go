package confdb

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "write the messages of testdata/bad.golden anew")

const goldenFile = "testdata/bad.golden"

// A golden case is a headline, the files, and what is said about them. The
// heading of a file is its path below /etc/sssd and how to make it:
//
//	mode=0644   its permissions          dir, fifo   instead of a file
//	link=PATH   a symbolic link          escaped     \x00, \r … and {k*1024} mean what they say,
//	                                      and the file ends without a new line
type goldenCase struct {
	name  string
	files []goldenFileSpec
	says  string
}

type goldenFileSpec struct {
	path string
	how  []string
	text string
}

const (
	caseMark = "==== "
	saysMark = "-- says --"
)

// TestBadFilesAreToldExactly loads every case of the golden file and compares
// what is said, word for word.
func TestBadFilesAreToldExactly(t *testing.T) {
	preface, cases := readGolden(t)
	if len(cases) < 60 {
		t.Errorf("%d cases, there should be 60 or more", len(cases))
	}
	for i := range cases {
		t.Run(cases[i].name, func(t *testing.T) {
			got := cases[i].load(t)
			if !*update && got != cases[i].says {
				t.Errorf("said:\n%s\nexpected:\n%s", got, cases[i].says)
			}
			cases[i].says = got
		})
	}
	if *update {
		writeGolden(t, preface, cases)
	}
}

// TestGoldenComparisonCanFail is the negative control: another message than
// the file's must not pass.
func TestGoldenComparisonCanFail(t *testing.T) {
	_, cases := readGolden(t)
	for i := 1; i < len(cases); i++ {
		if cases[i-1].load(t) == cases[i].says {
			t.Errorf("%q and %q say the same; one of them is enough", cases[i-1].name, cases[i].name)
		}
	}
}

// load returns the findings of the case, one to a line.
func (c goldenCase) load(t *testing.T) string {
	t.Helper()
	r := newRoot(t)
	for _, file := range c.files {
		file.make(t, r)
	}
	var says strings.Builder
	for _, finding := range r.load(t).Findings {
		switch kind := finding.Kind; {
		case kind.Stops():
		case kind.Counts():
			says.WriteString("mistake: ")
		case kind.Loud():
			says.WriteString("warning: ")
		default:
			says.WriteString("note: ")
		}
		fmt.Fprintln(&says, finding)
	}
	uid := fmt.Sprintf("uid %d", os.Getuid())
	return strings.NewReplacer(string(r), "", "root or "+uid, "root", uid, "uid 0").Replace(says.String())
}

func (f goldenFileSpec) make(t *testing.T, r root) {
	t.Helper()
	path, mode, text := r.path("/etc/sssd/"+f.path), os.FileMode(0o600), f.text
	for _, how := range f.how {
		name, value, _ := strings.Cut(how, "=")
		var err error
		switch name {
		case "mode":
			var bits uint64
			bits, err = strconv.ParseUint(value, 8, 12)
			mode = os.FileMode(bits)
		case "escaped":
			text = unescape(t, text)
		case "dir":
			err = os.Mkdir(path, 0o700)
		case "fifo":
			err = unix.Mkfifo(path, 0o600)
		case "link":
			err = os.Symlink(value, path)
		default:
			t.Fatalf("%s: %q is not understood", f.path, how)
		}
		if err != nil {
			t.Fatal(err)
		}
		if name == "dir" || name == "fifo" || name == "link" {
			return
		}
	}
	r.write(t, "/etc/sssd/"+f.path, text)
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

var repeated = regexp.MustCompile(`\{(.)\*(\d+)\}`)

func unescape(t *testing.T, text string) string {
	t.Helper()
	text = repeated.ReplaceAllStringFunc(text, func(spec string) string {
		parts := repeated.FindStringSubmatch(spec)
		count, _ := strconv.Atoi(parts[2])
		return strings.Repeat(parts[1], count)
	})
	lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
	for i, line := range lines {
		content := strings.TrimSuffix(line, "\n")
		plain, err := strconv.Unquote(`"` + strings.ReplaceAll(content, `"`, `\"`) + `"`)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		lines[i] = plain + line[len(content):]
	}
	return strings.Join(lines, "")
}

// readGolden returns what stands before the first case, and the cases.
func readGolden(t *testing.T) (preface string, cases []goldenCase) {
	t.Helper()
	data, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split("\n"+string(data), "\n"+caseMark)
	for _, part := range parts[1:] {
		name, rest, _ := strings.Cut(part, "\n")
		files, says, found := strings.Cut(rest, saysMark+"\n")
		if !found {
			t.Fatalf("%s: there is no %q", name, saysMark)
		}
		c := goldenCase{name: name}
		if says = strings.TrimRight(says, "\n"); says != "" {
			c.says = says + "\n"
		}
		for _, file := range strings.Split("\n"+files, "\n-- ")[1:] {
			heading, text, _ := strings.Cut(file, " --\n")
			words := strings.Fields(heading)
			if text != "" && !strings.HasSuffix(text, "\n") {
				text += "\n" // the one the next heading was split off by
			}
			c.files = append(c.files, goldenFileSpec{path: words[0], how: words[1:], text: text})
		}
		cases = append(cases, c)
	}
	return strings.TrimPrefix(parts[0], "\n"), cases
}

func writeGolden(t *testing.T, preface string, cases []goldenCase) {
	t.Helper()
	text := strings.TrimRight(preface, "\n") + "\n"
	for _, c := range cases {
		text += "\n" + caseMark + c.name + "\n"
		for _, file := range c.files {
			text += "-- " + strings.Join(append([]string{file.path}, file.how...), " ") + " --\n" + file.text
		}
		text += saysMark + "\n" + c.says
	}
	if err := os.WriteFile(filepath.FromSlash(goldenFile), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
