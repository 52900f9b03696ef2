package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

func TestProgramsAreListedWithWhatTheyAreBuiltOf(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run(&out, []string{"gosssd", "0.1.0", self, self}); err != nil {
		t.Fatal(err)
	}
	var d document
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if d.Metadata.Component.Name != "gosssd" || d.Metadata.Component.Version != "0.1.0" {
		t.Errorf("it is about %+v", d.Metadata.Component)
	}
	if len(d.Components) == 0 || d.Components[len(d.Components)-1].Name != "stdlib" || strings.Count(out.String(), `"stdlib"`) != 1 {
		t.Errorf("the standard library is not there once: %s", &out)
	}
}

func TestWhatIsNoGoProgramIsRefused(t *testing.T) {
	if err := run(&bytes.Buffer{}, []string{"gosssd", "0.1.0", "main.go"}); err == nil || !strings.Contains(err.Error(), "main.go") {
		t.Errorf("got %v", err)
	}
	if err := run(&bytes.Buffer{}, nil); err == nil {
		t.Error("no arguments are accepted")
	}
}
