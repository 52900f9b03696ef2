package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// storages are the words of [kcm] ccache_storage.
var storages = []string{"secrets", "secdb", "memory"}

// kept is a configuration whose caches are kept in a storage, and more lines
// for its [kcm] section.
func kept(storage string, lines ...string) string {
	return "[sssd]\n[kcm]\nccache_storage = " + storage + "\n" + strings.Join(lines, "\n") + "\n"
}

// somebody is an ordinary user, where the tests can be one.
func somebody() user {
	if os.Getuid() == 0 {
		return 20001
	}
	return user(os.Getuid())
}

// compile builds a program over libkrb5 from krb5api and returns its name.
func compile(t *testing.T, source string) string {
	t.Helper()
	needProgram(t, "cc")
	if _, err := os.Stat("/usr/include/krb5.h"); err != nil {
		skip(t, "needs the headers of libkrb5")
	}
	program, err := compiled(filepath.Join(publicDir(t, "program-"), strings.TrimSuffix(source, ".c")), source)
	if err != nil {
		t.Fatal(err)
	}
	return program
}

func compiled(program, source string) (string, error) {
	out, err := exec.Command("cc", "-Wall", "-Wextra", "-Werror", "-o", program, "krb5api/"+source, "-lkrb5").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("compile %s: %w\n%s", source, err, out)
	}
	return program, nil
}

// apart says which types of cache may stand apart from the others in the lines
// of a label, and why.
type apart struct {
	types []string
	why   string
}

const (
	noCollection  = "a FILE is no collection, and the library does not list a MEMORY that is not the default"
	otherCodes    = "a cache that is not there: MEMORY makes one when a name is resolved"
	noneToRemove  = "the protocol has a code for that nothing was removed, which Heimdal's server gives, too"
	replacesEqual = "STORE replaces the ticket that is the same but for its contents; the others keep both and find the old one"
)

var mayDiffer = map[string]apart{
	"before.iterate":           {[]string{"MEMORY"}, otherCodes},
	"before.retrieve":          {[]string{"MEMORY"}, otherCodes},
	"before.remove_cred":       {[]string{"MEMORY"}, otherCodes},
	"destroy.again":            {[]string{"MEMORY"}, otherCodes},
	"remove_cred.none_left":    {[]string{"KCM"}, noneToRemove},
	"set_config.clear_again":   {[]string{"KCM"}, noneToRemove},
	"store.again":              {[]string{"KCM"}, replacesEqual},
	"get_config.again":         {[]string{"KCM"}, replacesEqual},
	"configured":               {[]string{"KCM"}, replacesEqual},
	"copy_creds":               {[]string{"KCM"}, replacesEqual},
	"move":                     {[]string{"KCM"}, replacesEqual},
	"new_unique.get_principal": {[]string{"FILE"}, "new_unique makes an empty file there, which ends too early"},
	"collection":               {[]string{"KCM"}, noCollection},
	"support_switch":           {[]string{"KCM"}, noCollection},
	"switch.default":           {[]string{"KCM"}, noCollection},
	"switch.collection":        {[]string{"KCM"}, noCollection},
	"cache_match.bob":          {[]string{"KCM"}, noCollection},
}

func TestTheWholeCacheAPIOfMITDoesWithKCMWhatItDoesWithOtherTypes(t *testing.T) {
	t.Parallel()
	needRealm(t)
	program := compile(t, "api.c")
	u := somebody()
	transcripts := map[string]string{}
	for _, storage := range storages {
		s := newSystem(t, kept(storage)).start()
		transcripts[storage] = s.sh(u, fmt.Sprintf("%s KCM:%d:api KCM:", program, u))
		if storage == storages[0] {
			transcripts["MEMORY"] = s.sh(u, program+" MEMORY:api MEMORY:api")
			transcripts["FILE"] = s.sh(u, `dir=$(mktemp -d); `+program+` FILE:$dir/api FILE:$dir/api; rmdir "$dir"`)
		}
		s.stop()
		if transcripts[storage] != transcripts[storages[0]] {
			t.Errorf("%s:\n%s\n%s:\n%s", storage, transcripts[storage], storages[0], transcripts[storages[0]])
		}
	}
	transcripts["KCM"] = transcripts[storages[0]]
	compareTranscripts(t, transcripts)
}

// compareTranscripts finds where the types differ and may not, and where they
// may and do not.
func compareTranscripts(t *testing.T, transcripts map[string]string) {
	t.Helper()
	types := []string{"KCM", "FILE", "MEMORY"}
	byLabel := map[string]map[string]string{}
	var labels []string
	for _, kind := range types {
		byLabel[kind] = map[string]string{}
		for line := range strings.Lines(transcripts[kind]) {
			label, text, _ := strings.Cut(line, ": ")
			byLabel[kind][label] += text
			if !slices.Contains(labels, label) {
				labels = append(labels, label)
			}
		}
	}
	same := 0
	for _, label := range labels {
		var together []string // texts of the types that must agree
		allowed := mayDiffer[label]
		for _, kind := range types {
			if !slices.Contains(allowed.types, kind) {
				together = append(together, byLabel[kind][label])
			}
		}
		if len(slices.Compact(slices.Clone(together))) > 1 {
			t.Errorf("%s differs:\nKCM: %sFILE: %sMEMORY: %s", label, byLabel["KCM"][label], byLabel["FILE"][label], byLabel["MEMORY"][label])
		}
		for _, kind := range allowed.types {
			if byLabel[kind][label] == together[0] {
				t.Errorf("%s of %s may differ (%s) but does not: %s", label, kind, allowed.why, together[0])
			}
		}
		if len(allowed.types) == 0 {
			same++
		}
	}
	for label := range mayDiffer {
		if !slices.Contains(labels, label) {
			t.Errorf("%s may differ, but is in no transcript", label)
		}
	}
	t.Logf("%d of %d calls and lists agree", same, len(labels))
	if same < 80 {
		t.Errorf("only %d calls and lists are compared", same)
	}
}
