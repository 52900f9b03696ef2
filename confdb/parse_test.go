package confdb

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// flat writes a file as "section.key=value@line", options in order.
func flat(file *File) []string {
	var all []string
	for _, section := range file.Sections {
		if len(section.Entries) == 0 {
			all = append(all, section.Name+".")
		}
		for _, entry := range section.Entries {
			all = append(all, fmt.Sprintf("%s.%s=%s@%d", section.Name, entry.Key, entry.Value, entry.Line))
		}
	}
	return all
}

func TestDialectIsLibinis(t *testing.T) {
	tests := map[string]struct {
		text string
		want []string
	}{
		"blanks around names and values are trimmed":  {"[ kcm ]\n\t k x \t=\t v w \n", []string{"kcm.k x=v w@2"}},
		"an indented option is an option":             {"[a]\nb=1\n  c = 2\n", []string{"a.b=1@2", "a.c=2@3"}},
		"a backslash at the end is part of the value": {"[a]\nb = 1\\\nc = 2\n", []string{`a.b=1\@2`, "a.c=2@3"}},
		"comments stand in the first column":          {"# x\n; x\n// x\n[a]\n#b=1\nc=2\n", []string{"a.c=2@6"}},
		"what looks like a comment behind a value is part of it": {
			"[a]\nb=1 # note\nc=1 ; note\nd=1 /* c */\n", []string{"a.b=1 # note@2", "a.c=1 ; note@3", "a.d=1 /* c */@4"}},
		"an indented comment with an equal sign is an option": {"[a]\n # b = 1\n", []string{"a.# b=1@2"}},
		"C comments may span lines":                           {"[a]\n/* b=1\nc=2\n */\n/**/\nd=3\n", []string{"a.d=3@6"}},
		"quotes are literal":                                  {"[a]\nb=\"x\"\n\"c\"='y'\n", []string{`a.b="x"@2`, `a."c"='y'@3`}},
		"backticks and triple quotes are literal":             {"[a]\nb=`x\nc=\"\"\"y\nd=\"\"\"\n", []string{"a.b=`x@2", `a.c="""y@3`, `a.d="""@4`}},
		"escapes and references are literal":                  {"[a]\nb=\\n%d%(c)s\nc=1\n", []string{`a.b=\n%d%(c)s@2`, "a.c=1@3"}},
		"the first equal sign separates":                      {"[a]\nb=c=d\n", []string{"a.b=c=d@2"}},
		"a dash is a name":                                    {"[a]\n-=1\n-=2\n", []string{"a.-=2@3"}},
		"brackets may be part of a section's name":            {"[domain/a[b]c]\nk=1\n", []string{"domain/a[b]c.k=1@2"}},
		"a dot in a section's name inherits nothing":          {"[a]\nk=1\n[a.b]\nl=2\n", []string{"a.k=1@2", "a.b.l=2@4"}},
		"the last value counts, the first spelling stays": {
			"[Aa]\nBb=1\nc=x\nBB=2\n[aA]\nbb=3\n", []string{"Aa.Bb=3@6", "Aa.c=x@3"}},
		"options before the first section are kept": {"b=1\n[a]\nc=2\n[DEFAULT]\nd=3\n", []string{"default.b=1@1", "default.d=3@5", "a.c=2@3"}},
		"an empty value is a value":                 {"[a]\nb=\n", []string{"a.b=@2"}},
		"carriage returns at the end are trimmed":   {"[a]\r\nb=1\r\nc=x\ry\r\n", []string{"a.b=1@2", "a.c=x\ry@3"}},
		"the last line needs no end":                {"[a]\nb=1", []string{"a.b=1@2"}},
		"a byte-order mark is skipped":              {"\ufeff[a]\nb=é\n", []string{"a.b=é@2"}},
		"UTF-16 is read by its mark":                {"\xff\xfe[\x00a\x00]\x00\n\x00b\x00=\x00=\xd8\x00\xde\n\x00", []string{"a.b=😀@2"}},
		"UTF-32 is read by its mark":                {"\xff\xfe\x00\x00[\x00\x00\x00a\x00\x00\x00]\x00\x00\x00", []string{"a."}},
		"Unicode blanks are part of a value":        {"[a]\nb=\u00a0x\u0085\n", []string{"a.b=\u00a0x\u0085@2"}},
		"a value ends at a NUL":                     {"[a]\nb=1\x002\nc=3\n", []string{"a.b=1@2", "a.c=3@3"}},
		"a line that begins with NUL is blank":      {"[a]\n\x00b=1\nc=3\n", []string{"a.c=3@3"}},
		"a long value is no problem":                {"[a]\nb=" + strings.Repeat("x", 1<<20), []string{"a.b=" + strings.Repeat("x", 1<<20) + "@2"}},
		"names may be as long as libini lets them": {
			"[" + strings.Repeat("s", 1024) + "]\n" + strings.Repeat("k", 1023) + "=1",
			[]string{strings.Repeat("s", 1024) + "." + strings.Repeat("k", 1023) + "=1@2"}},
		"a section may be empty":   {"[a]\n[b]\n", []string{"a.", "b."}},
		"a file may be empty":      {"", nil},
		"a file may be a comment":  {"# nothing\n", nil},
		"control characters stand": {"[a]\nb=\x01\x01\nc=\x01\n", []string{"a.b=\x01\x01@2", "a.c=\x01@3"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			file, err := Parse(strings.NewReader(test.text))
			if err != nil {
				t.Fatal(err)
			}
			if got := flat(file); !slices.Equal(got, test.want) {
				t.Errorf("got %.300q, want %.300q", got, test.want)
			}
		})
	}
}

func TestParseReportsWhereSettingsWereOverridden(t *testing.T) {
	file, err := Parse(strings.NewReader("[a]\nb=1\n[A]\nB=2\nb=3\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []*FileSection{{Name: "a", Line: 1, Entries: []*Entry{{Key: "b", Value: "3", Line: 5, Earlier: []int{2, 4}}}}}
	if !reflect.DeepEqual(file.Sections, want) {
		t.Errorf("got %v", flat(file))
	}
}

// printed writes a file in normal form. An option is indented, so that a name
// that begins with '#' or '[' stays one.
func printed(file *File) []byte {
	var out bytes.Buffer
	for _, section := range file.Sections {
		fmt.Fprintf(&out, "[%s]\n", section.Name)
		for _, entry := range section.Entries {
			fmt.Fprintf(&out, " %s = %s\n", entry.Key, entry.Value)
		}
	}
	return out.Bytes()
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"[a]\nb = 1\n", "k=1\n[a]\n", "[a]\n/* x\n */\nb=1", "\xff\xfe[\x00a\x00]\x00", "[a]\n -=`\"\"\"\n", "[a\x00b]\nc=1\x00",
		"[DEFAULT]\n#x\n =1\n[x]y\n", "[a]\r\n\vb=1\n\xf0\x9f", "[a]]\n%(b)s=%(a)s\n", "[a]\nb=\u0085\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := Parse(bytes.NewReader(text))
		if err != nil {
			var faults SyntaxErrors
			if !errors.As(err, &faults) || len(faults) == 0 || faults[0].Line < 1 {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		first := printed(file)
		again, err := Parse(bytes.NewReader(first))
		if err != nil {
			t.Fatalf("%q was printed as %q: %v", text, first, err)
		}
		if second := printed(again); !bytes.Equal(first, second) {
			t.Fatalf("%q was printed as %q, then as %q", text, first, second)
		}
	})
}

// TestFuzzTargetsHaveSeeds keeps the corpora from getting lost, without which
// an ordinary test run would not enter the targets at all.
func TestFuzzTargetsHaveSeeds(t *testing.T) {
	for _, target := range []string{"FuzzParse", "FuzzDecodeDatabase"} {
		seeds, err := os.ReadDir("testdata/fuzz/" + target)
		if err != nil || len(seeds) < 3 {
			t.Errorf("%s has %d seeds: %v", target, len(seeds), err)
		}
	}
}
