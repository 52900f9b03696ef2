package tests

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// arrow forbids packages to import others. A pattern that ends in "/..."
// stands for a folder and all below it.
type arrow struct {
	from   string
	never  []string // patterns that from may not reach, even indirectly
	except []string // but these it may
}

// The arrows of ARCHITECTURE.md.
var arrows = []arrow{
	{from: "gosssd/linux", never: []string{"gosssd/..."}},
	{from: "gosssd/layout", never: []string{"gosssd/..."}},
	{from: "gosssd/confdb", never: []string{"gosssd/..."}, except: []string{"gosssd/linux"}},
	{from: "gosssd/sbus", never: []string{"gosssd/..."}, except: []string{"gosssd/linux"}},
	{from: "gosssd/kcm/protocol", never: []string{"gosssd/..."}},
	{from: "gosssd/kcm/archive", never: []string{"gosssd/..."}},
	{from: "gosssd/kcm/sysbus", never: []string{"gosssd/..."}, except: []string{"gosssd/responder/log", "gosssd/linux"}},
	{from: "gosssd/kcm/client", never: []string{"gosssd/..."}, except: []string{"gosssd/kcm/protocol"}},
	{from: "gosssd/secrets/records", never: []string{"gosssd/..."}},
	{from: "gosssd/secrets/vault", never: []string{"gosssd/..."}, except: []string{"gosssd/secrets/vault/engine", "gosssd/linux"}},
	{from: "gosssd/secrets/vault/engine", never: []string{"gosssd/..."}, except: []string{"gosssd/linux"}},
	{from: "gosssd/responder/...", never: []string{"gosssd/..."}, except: []string{"gosssd/responder/...", "gosssd/confdb", "gosssd/sbus", "gosssd/linux", "gosssd/layout"}},
	{from: "gosssd/kcm/...", never: []string{"gosssd/secrets/...", "gosssd/cmd/...", "net/http"}},
	{from: "gosssd/kdc/...", never: []string{"gosssd/..."}, except: []string{"gosssd/kdc/...", "gosssd/kcm/protocol"}},
	{from: "gosssd/secrets/...", never: []string{"gosssd/kcm/...", "gosssd/cmd/..."}},
	{from: "gosssd/cmd/sssd", never: []string{"net/http", "go.etcd.io/bbolt"}},
	{from: "gosssd/secrets/client", never: []string{"net/http"}},
	{from: "gosssd/cmd/sssd", never: []string{"github.com/gdamore/tcell/v2"}},
	{from: "gosssd/cmd/sssd_kcm", never: []string{"github.com/gdamore/tcell/v2"}},
	{from: "gosssd/cmd/sssd_secrets", never: []string{"github.com/gdamore/tcell/v2"}},
}

func TestImportsFollowTheArrows(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Deps " "}}`, "gosssd/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	graph := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		names := strings.Fields(line)
		graph[names[0]] = names[1:]
	}
	for _, a := range arrows {
		if !slices.ContainsFunc(keys(graph), func(name string) bool { return matches(a.from, name) }) {
			t.Errorf("the arrow from %s holds nothing: there is no such package", a.from)
		}
	}
	for _, wrong := range violations(graph) {
		t.Error(wrong)
	}
}

// TestOnlyTheEngineKnowsItsDatabase: what is above it could be put on another.
func TestOnlyTheEngineKnowsItsDatabase(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "gosssd/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var who []string
	for line := range strings.Lines(string(out)) {
		if names := strings.Fields(line); slices.Contains(names[1:], "go.etcd.io/bbolt") {
			who = append(who, names[0])
		}
	}
	if !slices.Equal(who, []string{"gosssd/secrets/vault/engine"}) {
		t.Errorf("bbolt is imported by %v", who)
	}
}

func TestAWrongImportIsFound(t *testing.T) {
	t.Parallel()
	for name, graph := range map[string]map[string][]string{
		"the configuration database imports the frame": {"gosssd/confdb": {"gosssd/responder"}},
		"kcm imports the vault":                        {"gosssd/kcm": {"gosssd/secrets/vault"}},
		"the engine imports the vault":                 {"gosssd/secrets/vault/engine": {"gosssd/secrets/vault"}},
		"the monitor links a web server":               {"gosssd/cmd/sssd": {"fmt", "net/http"}},
		"the leaf imports the frame":                   {"gosssd/linux": {"gosssd/responder"}},
		"the frame imports a responder":                {"gosssd/responder/log": {"gosssd/kcm"}},
	} {
		if len(violations(graph)) == 0 {
			t.Errorf("%s, and nothing is reported", name)
		}
	}
	allowed := map[string][]string{"gosssd/responder": {"gosssd/confdb", "gosssd/sbus", "gosssd/responder/log", "gosssd/linux"}, "gosssd/confdb": {"gosssd/linux"}}
	if wrong := violations(allowed); len(wrong) > 0 {
		t.Errorf("allowed imports are reported: %v", wrong)
	}
}

func violations(graph map[string][]string) []string {
	var wrong []string
	for _, a := range arrows {
		for from, imports := range graph {
			if !matches(a.from, from) {
				continue
			}
			for _, to := range imports {
				if matchesAny(a.never, to) && !matchesAny(a.except, to) {
					wrong = append(wrong, fmt.Sprintf("%s imports %s", from, to))
				}
			}
		}
	}
	return wrong
}

func matches(pattern, name string) bool {
	folder, all := strings.CutSuffix(pattern, "/...")
	return name == folder || all && strings.HasPrefix(name, folder+"/")
}

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, name) })
}

func keys(graph map[string][]string) []string {
	var names []string
	for name := range graph {
		names = append(names, name)
	}
	return names
}
