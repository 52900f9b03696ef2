package kcm

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"gosssd/sbus"
)

func TestTheREADMEListsSignalsAndMethods(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, signal := range Descriptor().Signals {
		var args []string
		for _, arg := range signal.Args {
			args = append(args, fmt.Sprintf("`%s` %s", arg.Type, arg.Name))
		}
		if row := fmt.Sprintf("| %s | %s |\n", signal.Name, strings.Join(args, ", ")); !strings.Contains(string(text), row) {
			t.Errorf("README.md lacks %q", row)
		}
	}
	list := func(args []sbus.Arg) string {
		var texts []string
		for _, arg := range args {
			texts = append(texts, fmt.Sprintf("`%s` %s", arg.Type, arg.Name))
		}
		return strings.Join(texts, ", ")
	}
	for _, method := range Descriptor().Methods {
		if row := fmt.Sprintf("| %s | %s | %s |\n", method.Name, list(method.In), list(method.Out)); !strings.Contains(string(text), row) {
			t.Errorf("README.md lacks %q", row)
		}
	}
	_, section, _ := strings.Cut(string(text), "\n| method |")
	section, _, _ = strings.Cut(section, "\n\n")
	if rows := strings.Count(section, "\n|") - 1; rows != len(Descriptor().Methods) {
		t.Errorf("%d methods, and README.md lists %d", len(Descriptor().Methods), rows)
	}
	if len(Descriptor().Signals) != 4 {
		t.Errorf("%d signals, and README.md lists 4", len(Descriptor().Signals))
	}
}
