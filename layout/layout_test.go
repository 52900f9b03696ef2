package layout

import (
	"reflect"
	"strings"
	"testing"
)

// Both forms can be installed on one machine's disk after each other, and the
// second runs beside SSSD: no name or path of it may be one of the first.
func TestTheFormsShareNoNameAndNoPath(t *testing.T) {
	all := All()
	for i := range reflect.TypeFor[Layout]().NumField() {
		field := reflect.TypeFor[Layout]().Field(i)
		if field.Type.Kind() != reflect.String {
			continue
		}
		seen := map[string]bool{}
		for _, l := range all {
			value := reflect.ValueOf(l).Field(i).String()
			if value == "" || seen[value] {
				t.Errorf("%s of %s is empty or another form's: %q", field.Name, l.Form, value)
			}
			seen[value] = true
		}
	}
}

// SSSD's own files, none of which is ours in the form beside it.
func TestTheFormBesideTakesNothingOfSSSDs(t *testing.T) {
	for _, l := range All() {
		if !l.Beside {
			continue
		}
		for _, path := range []string{l.Database, l.Bus, l.PIDFile} {
			if !strings.Contains(path, "gosssd") {
				t.Errorf("%s does not bear our name", path)
			}
		}
	}
}

func TestProgramsAreWholeUnlessTheyAreLinkedOtherwise(t *testing.T) {
	if got := Current(); got.Form != "whole" || got.Monitor != "sssd" {
		t.Errorf("%+v", got)
	}
}
