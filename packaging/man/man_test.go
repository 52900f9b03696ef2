// Package man holds the manual pages. What they and README.md say of options
// is generated from the options as they are declared:
//
//	go test ./packaging/man -update
package man

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gosssd/layout"
)

var update = flag.Bool("update", false, "write the generated parts of the manual pages and of README.md")

const readme = "../../README.md"

// generated finds the parts between markers, in a page or in README.md.
var generated = map[bool]*regexp.Regexp{
	false: regexp.MustCompile(`(?sm)^(\.\\" options of ([^\n]*)\n)(.*?)^(\.\\" end of options\n)`),
	true:  regexp.MustCompile(`(?sm)^(<!-- options() -->\n)(.*?)^(<!-- /options -->\n)`),
}

// files are the manual pages and README.md, which shows the form whole.
func files(t *testing.T) []string {
	t.Helper()
	pages, err := filepath.Glob("*.[58]")
	if err != nil || len(pages) == 0 {
		t.Fatalf("there are no pages: %v", err)
	}
	if !layout.Current().Beside {
		pages = append(pages, readme)
	}
	return pages
}

// read returns a file, a manual page as it is installed with this form.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err == nil && layout.Current().Beside {
		text, err = exec.Command("sed", "-f", "beside.sed", name).Output()
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestPagesOfTheFormBeside runs the other tests as those of the other form: they
// compare the pages that are made of these with the options that it declares.
func TestPagesOfTheFormBeside(t *testing.T) {
	if layout.Current().Beside {
		t.Skip("this is the other form")
	}
	out, err := exec.Command("go", "test", "-ldflags", "-X gosssd/layout.form=beside", "-v", ".").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "--- SKIP: TestPagesOfTheFormBeside") {
		t.Errorf("it was not the other form:\n%s", out)
	}
}

// regenerate returns a file's text with its generated parts as they should
// be, and the sections these are about.
func regenerate(name, text string) (should string, about []string) {
	isReadme := name == readme
	should = generated[isReadme].ReplaceAllStringFunc(text, func(part string) string {
		marks := generated[isReadme].FindStringSubmatch(part)
		names := strings.Fields(marks[2])
		for i := range names { // a blank in a name is written as '_'
			names[i] = strings.ReplaceAll(names[i], "_", " ")
		}
		body := ""
		if isReadme {
			names = order()
			body = "\n" + markdown(names) + "\n"
		} else {
			body = mdoc(names)
		}
		about = append(about, names...)
		return marks[1] + body + marks[4]
	})
	return should, about
}

// order is the order of sections in README.md.
func order() []string {
	names := slices.Sorted(maps.Keys(sections()))
	first := []string{"sssd", service, "kcm"}
	return append(first, slices.DeleteFunc(names, func(name string) bool { return slices.Contains(first, name) })...)
}

func TestPagesAndReadmeShowTheDeclaredOptions(t *testing.T) {
	var inPages, inReadme []string
	for _, name := range files(t) {
		text := read(t, name)
		should, about := regenerate(name, text)
		if name == readme {
			inReadme = about
		} else {
			inPages = append(inPages, about...)
		}
		if should == text {
			continue
		}
		if !*update || layout.Current().Beside {
			t.Errorf("%s does not show the options as they are declared; run go test ./packaging/man -update", name)
			continue
		}
		if err := os.WriteFile(name, []byte(should), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range order() {
		if count(inPages, name) != 1 || !layout.Current().Beside && count(inReadme, name) != 1 {
			t.Errorf("the options of %s are in %d pages and %d times in README.md, want once each", written(name), count(inPages, name), count(inReadme, name))
		}
	}
}

// TestAStalePageIsFound is the negative control: any change of a generated
// part must be noticed.
func TestAStalePageIsFound(t *testing.T) {
	for _, name := range files(t) {
		text := read(t, name)
		_, about := regenerate(name, text)
		if len(about) == 0 {
			continue
		}
		for _, option := range sections()[about[0]] {
			before, after := ".It Cm ", " Pq"
			if name == readme {
				before, after = "`", "` |"
			}
			stale := strings.Replace(text, before+option.Key+after, before+option.Key+"x"+after, 1)
			if stale == text {
				t.Errorf("%s does not name %s", name, option.Key)
			} else if should, _ := regenerate(name, stale); should == stale {
				t.Errorf("%s: a wrong name of %s is not noticed", name, option.Key)
			}
		}
	}
}

// TestPagesNameExistingPages follows the references of each page to the
// others.
func TestPagesNameExistingPages(t *testing.T) {
	reference := regexp.MustCompile(`(?m)^\.Xr (?:go)?(sss[a-z.-]*) (\d)`)
	found := 0
	for _, name := range files(t) {
		for _, to := range reference.FindAllStringSubmatch(read(t, name), -1) {
			found++
			if _, err := os.Stat(fmt.Sprintf("%s.%s", to[1], to[2])); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if found == 0 {
		t.Error("no page names another; the test shows nothing")
	}
}

// TestMessagesOfTheManualAreThoseOfThePrograms looks for each message of the
// table in the sources.
func TestMessagesOfTheManualAreThoseOfThePrograms(t *testing.T) {
	page, err := os.ReadFile("sssd-kcm.8")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), ".\\\" messages of gosssd\n")
	table, _, found := strings.Cut(table, ".\\\" end of messages\n")
	rows := regexp.MustCompile(`(?m)^T\{\n((?:.*\n)*?)T\}\tT\{\n(?:.*\n)*?T\}\tT\{\n(?:.*\n)*?T\}$`).FindAllStringSubmatch(table, -1)
	if !found || len(rows) < 10 {
		t.Fatalf("the table has %d rows", len(rows))
	}
	sources := programText(t)
	if strings.Contains(sources, "no program says this") {
		t.Fatal("the sources contain everything; the test shows nothing")
	}
	for _, row := range rows {
		message := strings.Join(strings.Fields(row[1]), " ")
		if !strings.Contains(sources, message) {
			t.Errorf("no program says %q", message)
		}
	}
}

// programText is the text of all sources but tests.
func programText(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	for _, dir := range []string{"cmd", "confdb", "kcm", "responder", "sbus", "secrets"} {
		err := filepath.WalkDir("../../"+dir, func(path string, _ os.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			source, err := os.ReadFile(path)
			text.Write(source)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return text.String()
}

func count(list []string, text string) (n int) {
	for _, element := range list {
		if element == text {
			n++
		}
	}
	return n
}
