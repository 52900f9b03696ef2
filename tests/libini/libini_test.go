// Package libini compares confdb's reading of sssd.conf with that of libini,
// the library SSSD reads it with, on generated files.
package libini

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"gosssd/confdb"
)

// TestParseAgreesWithLibini reads every generated file with both and fails
// for any difference that explain does not name.
func TestParseAgreesWithLibini(t *testing.T) {
	oracle := buildOracle(t)
	files := generate(6000)
	answers := ask(t, oracle, files)

	explained := map[string]int{}
	differences := 0
	for i, text := range files {
		want := answers[i]
		got, reasons := asLibini(text, want)
		if got != want {
			if differences++; differences <= 20 {
				t.Errorf("file %d, %q:\nlibini %s\nconfdb %s", i, text, want, got)
			}
			continue
		}
		for _, reason := range reasons {
			explained[reason]++
		}
	}
	t.Logf("%d files compared, %d unexplained differences", len(files), differences)
	for _, reason := range sortedKeys(explained) {
		t.Logf("%5d files differ as intended: %s", explained[reason], reason)
	}
}

// TestOracleTellsDifferentFilesApart is the negative control: what libini says
// of one file must not be taken for what confdb says of another.
func TestOracleTellsDifferentFilesApart(t *testing.T) {
	oracle := buildOracle(t)
	answers := ask(t, oracle, [][]byte{[]byte("[a]\nb=1\n"), []byte("[a]\n\nb\n")})
	for i, other := range []string{"[a]\n\nb=1\n", "[a]\nb\n"} {
		if got, _ := asLibini([]byte(other), answers[i]); got == answers[i] {
			t.Errorf("%q is taken for the same as %s", other, got)
		}
	}
}

// buildOracle compiles oracle.c, or skips the test where that cannot be done.
func buildOracle(t *testing.T) string {
	t.Helper()
	compiler, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("NOT COMPARED WITH LIBINI: there is no C compiler (cc)")
	}
	if _, err := os.Stat("/usr/include/ini_configobj.h"); err != nil {
		t.Skip("NOT COMPARED WITH LIBINI: ini_configobj.h is missing; install libini-config-dev")
	}
	program := filepath.Join(t.TempDir(), "oracle")
	build := exec.Command(compiler, "-Wall", "-o", program, "oracle.c", "-lini_config")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build.Args, err, output)
	}
	return program
}

// ask returns the oracle's record of each file, without its name.
func ask(t *testing.T, oracle string, files [][]byte) []string {
	t.Helper()
	dir := t.TempDir()
	var names bytes.Buffer
	for i, text := range files {
		name := filepath.Join(dir, fmt.Sprintf("%05d.conf", i))
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&names, name)
	}
	run := exec.Command(oracle)
	run.Stdin, run.Stderr = &names, os.Stderr
	output, err := run.Output()
	if err != nil {
		t.Fatalf("oracle: %v", err)
	}
	records := strings.Split(strings.TrimSuffix(string(output), "end\n"), "end\n")
	if len(records) != len(files) {
		t.Fatalf("the oracle answered %d of %d files", len(records), len(files))
	}
	for i := range records {
		_, records[i], _ = strings.Cut(records[i], "\n")
	}
	return records
}

// The differences there are, each on purpose.
const (
	emptyFile  = "an empty file: libini fails to read its first line, confdb finds no section in it"
	lostOption = "an option before the first section: libini loses the first one, confdb keeps it and calls the section a mistake"
	badName    = "a name with '!', a control character or beyond ASCII: libini refuses the file without a line, and only after reading on, confdb names the line"
	moreErrors = "several errors: libini stops at the first, confdb lists all"
	noName     = "a section named by a NUL: libini accepts the empty name, confdb does not"
	blankAtNUL = "a blank before a NUL in a value: libini keeps it, confdb trims it"
	beyondUTF8 = "a five or six byte sequence, or a code beyond U+10FFFF: iconv lets it pass, confdb does not"

	errorNoName  = 3
	errorInvalid = 22
	errorIllegal = 84
)

// asLibini writes what confdb makes of text in the oracle's words. Where the
// two differ on purpose it writes what libini says, and names the reason.
func asLibini(text []byte, libini string) (record string, reasons []string) {
	file, err := confdb.Parse(bytes.NewReader(text))
	var faults confdb.SyntaxErrors
	switch {
	case errors.As(err, &faults):
		return asLibiniFault(text, faults, libini)
	case err != nil:
		return err.Error(), nil
	case len(text) == 0:
		return "error 8 1\n", []string{emptyFile}
	}
	for _, section := range file.Sections {
		record += "section" + hex(section.Name) + "\n"
		for i, entry := range section.Entries {
			if section.Implicit && i == 0 {
				reasons = append(reasons, lostOption)
				continue
			}
			line := fmt.Sprintf("key %d%s", entry.Line, hex(entry.Key))
			if withBlank := line + hex(entry.Value+" "); bytes.Contains(text, []byte(" \x00")) && strings.Contains(libini, withBlank+"\n") {
				record += withBlank + "\n"
				reasons = append(reasons, blankAtNUL)
				continue
			}
			record += line + hex(entry.Value) + "\n"
		}
	}
	return record, reasons
}

// asLibiniFault does the same for a file that confdb refuses.
func asLibiniFault(text []byte, faults confdb.SyntaxErrors, libini string) (record string, reasons []string) {
	if len(faults) > 1 {
		reasons = append(reasons, moreErrors)
	}
	first := faults[0]
	atOpen := fmt.Sprintf("open %d\n", first.Code)
	switch {
	case libini == atOpen:
		return atOpen, reasons
	case first.Code == errorIllegal && beyondUnicode(text):
		return libini, []string{beyondUTF8}
	case first.Code == errorInvalid && libini == fmt.Sprintf("refused %d\n", errorInvalid):
		return libini, append(reasons, badName)
	case first.Code == errorNoName && bytes.Contains(text, []byte("[\x00")):
		return libini, append(reasons, noName)
	}
	// libini looks at a name after the next line has been read, so that
	// an error there comes first.
	for len(faults) > 1 && faults[0].Code == errorInvalid {
		faults = faults[1:]
		reasons = append(reasons, badName)
	}
	return fmt.Sprintf("error %d %d\n", faults[0].Code, faults[0].Line), reasons
}

// beyondUnicode finds the lead bytes that glibc's iconv takes for UTF-8 and
// Unicode does not.
func beyondUnicode(text []byte) bool {
	for _, lead := range []byte{0xf4, 0xf8} {
		if bytes.IndexByte(text, lead) >= 0 {
			return true
		}
	}
	return false
}

func hex(text string) string {
	if text == "" {
		return " -"
	}
	return fmt.Sprintf(" %x", text)
}

func sortedKeys(m map[string]int) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
