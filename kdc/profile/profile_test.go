package profile

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func load(t testing.TB, texts ...string) (*Profile, error) {
	t.Helper()
	dir := t.TempDir()
	var paths []string
	for i, text := range texts {
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return Load(paths...)
}

func TestValues(t *testing.T) {
	const realm = "[realms]\n R = {\n  kdc = a\n  kdc = b:1\n }\n"
	for name, test := range map[string]struct {
		files []string
		path  string
		want  []string
	}{
		"one of many lines":            {[]string{"# c\n; d\n\n[libdefaults]\n x = 1\n y = 2\n"}, "libdefaults/y", []string{"2"}},
		"several in their order":       {[]string{realm}, "realms/R/kdc", []string{"a", "b:1"}},
		"a section that goes on":       {[]string{realm + "[other]\n" + realm}, "realms/R/kdc", []string{"a", "b:1", "a", "b:1"}},
		"files in their order":         {[]string{"[a]\nb=1\n", "[a]\nb=2\n"}, "a/b", []string{"1", "2"}},
		"a final section":              {[]string{"[a]*\nb=1\n", "[a]\nb=2\n"}, "a/b", []string{"1"}},
		"a final subsection":           {[]string{"[a]\nc = {\nb=1\n}*\n", "[a]\nc = {\nb=2\n}\n"}, "a/c/b", []string{"1"}},
		"a final relation":             {[]string{"[a]\nb*=1\n", "[a]\nb=2\n"}, "a/b", []string{"1"}},
		"a brace on a line of its own": {[]string{"[a]\nc =\n{\nb=1\n}\n"}, "a/c/b", []string{"1"}},
		"quotes":                       {[]string{`[a]` + "\n" + `b = "x \"y\"\t\\z "` + "\n"}, "a/b", []string{"x \"y\"\t\\z "}},
		"a value with an equals sign":  {[]string{"[a]\nb = x=y\n"}, "a/b", []string{"x=y"}},
		"a carriage return":            {[]string{"[a]\r\nb = x\r\n"}, "a/b", []string{"x"}},
		"an include":                   {[]string{"[a]\nb=2\n", "include DIR/0\n[a]\nb=1\n"}, "a/b", []string{"2", "2", "1"}},
		"a subsection is no relation":  {[]string{realm}, "realms/R", nil},
		"a relation is no subsection":  {[]string{realm}, "realms/R/kdc/x", nil},
		"what is not there":            {[]string{realm}, "realms/S/kdc", nil},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := load(t, test.files...)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Values(strings.Split(test.path, "/")...); !slices.Equal(got, test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func TestIncludedirTakesWhatLibkrb5Takes(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b-1", "a_2", "c.conf", ".hidden.conf", "d.rpmsave", "e~", "f.conf~"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("[x]\ny = "+name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := load(t, "includedir "+dir+"\n")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := p.Values("x", "y"), []string{"a_2", "b-1", "c.conf"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestRelationsTellWhereTheyStand(t *testing.T) {
	p, err := load(t, "[a]\n\nb = 1\n", "# c\ninclude DIR/0\n[a]\nb = 2\n")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range p.Relations("a", "b") {
		got = append(got, fmt.Sprintf("%s:%d=%s", filepath.Base(r.File), r.Line, r.Value))
	}
	if want := []string{"0:3=1", "0:3=1", "1:4=2"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestErrorsNameTheLine(t *testing.T) {
	for text, want := range map[string]string{
		"[a]\nx\n":                        `0:2: expected NAME = VALUE: "x"`,
		"[a\n":                            `0:1: expected [SECTION]: "[a"`,
		"[a] b\n":                         `0:1: expected [SECTION]: "[a] b"`,
		"[a]\n}\n":                        `0:2: "}" without "{": "}"`,
		"[a]\nb = {\n[c]\n":               `0:3: a section begins where "}" is missing: "[c]"`,
		"[a]\nb =\nc = 1\n":               `0:3: expected "{": "c = 1"`,
		"include DIR/missing\n":           "0:1: open ",
		"includedir DIR/missing\n":        "0:1: open ",
		"include DIR/0\n":                 "included 20 levels deep",
		"module /usr/lib/x.so:residual\n": "0:1: a profile module cannot be read",
	} {
		if _, err := load(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "missing")); !os.IsNotExist(err) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestBoolsAreLibkrb5s(t *testing.T) {
	p, err := load(t, "[a]\nyes = Yes\non = on\nno = FALSE\nnil = nil\nother = perhaps\n")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"yes": true, "on": true, "no": false, "nil": false} {
		if got := p.Bool(!want, "a", name); got != want {
			t.Errorf("%s is %t", name, got)
		}
	}
	for _, otherwise := range []bool{true, false} {
		if p.Bool(otherwise, "a", "other") != otherwise || p.Bool(otherwise, "a", "unset") != otherwise {
			t.Error("what is no truth is taken for one")
		}
	}
}

// questions are asked of each generated file.
var questions = []string{"a\tx", "a\ty", "b\tx", "a\ts\tx", "a\ts\ty", "a\ts\tt\tx", "b\ts\tx"}

// TestReadsAsLibkrb5 reads generated files with both.
func TestReadsAsLibkrb5(t *testing.T) {
	oracle := buildOracle(t)
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(1, 2))
	var input strings.Builder
	var paths []string
	for i := range 3000 {
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(path, []byte(generate(random)), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
		for _, question := range questions {
			fmt.Fprintf(&input, "%s\t%s\n", path, question)
		}
	}
	cmd := exec.Command(oracle)
	cmd.Stdin = strings.NewReader(input.String())
	output, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	answers := strings.Split(strings.TrimSuffix(string(output), "\n"), "\n")
	if len(answers) != len(paths)*len(questions) {
		t.Fatalf("%d answers to %d questions", len(answers), len(paths)*len(questions))
	}
	readable, values, failures := 0, 0, 0
	for i, path := range paths {
		p, err := Load(path)
		if err == nil {
			readable++
		}
		for j, question := range questions {
			want := answers[i*len(questions)+j]
			got := "error"
			if err == nil {
				got = ""
				for _, value := range p.Values(strings.Split(question, "\t")...) {
					got += "\t" + shown(value)
					values++
				}
			}
			if got != want {
				text, _ := os.ReadFile(path)
				t.Errorf("%q of\n%s\nis %q, for libkrb5 %q (%v)", question, text, got, want, err)
				if failures++; failures > 5 {
					t.FailNow()
				}
			}
		}
	}
	if readable < 1000 || values < 3000 {
		t.Errorf("only %d files could be read and had %d values: too little is compared", readable, values)
	}
	t.Logf("%d files compared, %d of them readable, %d values", len(paths), readable, values)
}

func shown(value string) string {
	var b strings.Builder
	for _, c := range []byte(value) {
		if c < 32 || c == 127 {
			fmt.Fprintf(&b, "\\x%02x", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// generate makes a file out of lines that fit each other more often than not.
func generate(random *rand.Rand) string {
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	var b strings.Builder
	depth := 0
	b.WriteString(pick("[a]\n", "[a]\n", "[b]\n", "[a]*\n", "# c\n[a]\n", "x = 0\n"))
	for range random.IntN(12) {
		line := pick("x", "y", "x", "x*", "s") + pick(" = ", "=", " =  ") +
			pick("1", "2", "3 4", `"q r"`, `"q \"r\" \n\t\\"`, `"open`, "a=b", "# no comment", "v  ", "{1", "}")
		switch random.IntN(14) {
		case 0, 1, 2:
			line = pick("s", "s", "t", "s*") + " = " + pick("{", "{", "", "{ ")
			depth++
			if strings.HasSuffix(line, "= ") {
				line += pick("\n{", "\n{", "\n  {", "\n")
			}
		case 3, 4:
			if depth > 0 || random.IntN(20) == 0 {
				line = pick("}", "}", "}*", " }")
				depth--
			}
		case 5:
			line = pick("# x = 5", "; y", "", "   ", "\t# z", "x", "= 1")
		case 6:
			if depth <= 0 || random.IntN(20) == 0 {
				line = pick("[a]", "[b]", "[c]", "[a]*", " [b]", "[a", "[a] ")
			}
		}
		b.WriteString(pick("", " ", "\t") + line + pick("\n", "\n", "\n", "\r\n", " \n"))
	}
	for ; depth > 0; depth-- {
		b.WriteString("}\n")
	}
	return b.String()
}

// buildOracle compiles testdata/oracle.c, or skips the test where that cannot be done.
func buildOracle(t *testing.T) string {
	t.Helper()
	compiler, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("NOT COMPARED WITH LIBKRB5: there is no C compiler (cc)")
	}
	if _, err := os.Stat("/usr/include/profile.h"); err != nil {
		t.Skip("NOT COMPARED WITH LIBKRB5: profile.h is missing; install libkrb5-dev")
	}
	program := filepath.Join(t.TempDir(), "oracle")
	if output, err := exec.Command(compiler, "-Wall", "-o", program, "testdata/oracle.c", "-lkrb5").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return program
}

func FuzzLoad(f *testing.F) {
	f.Add("[libdefaults]\n default_realm = R\n[realms]\n R = {\n kdc = \"a\\n\"\n }*\n")
	f.Fuzz(func(_ *testing.T, text string) {
		root := &node{section: true}
		if strings.Contains(text, "include") {
			return // of other files of this machine
		}
		if err := (&parser{root: root}).file("text", text); err == nil {
			(&Profile{files: []*node{root}}).Values("realms", "R", "kdc")
		}
	})
}
