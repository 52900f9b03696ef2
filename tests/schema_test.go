package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"gosssd/kcm/protocol"
)

// schemas compiles the schema of what sssctl prints, and returns what compiles
// the definition of a command. Fields that it does not have are mistakes here.
func schemas(t *testing.T) (of func(command string) *jsonschema.Schema, commands []string) {
	t.Helper()
	text, err := os.ReadFile("../packaging/contrib/sssctl.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	strict := regexp.MustCompile(`"type": "object",`).ReplaceAllString(string(text), `"type": "object", "additionalProperties": false,`)
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(strict))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("sssctl.json", document); err != nil {
		t.Fatal(err)
	}
	for name := range document.(map[string]any)["$defs"].(map[string]any) {
		if name != "time" {
			commands = append(commands, name)
		}
	}
	slices.Sort(commands)
	return func(command string) *jsonschema.Schema {
		t.Helper()
		schema, err := compiler.Compile("sssctl.json#/$defs/" + strings.ReplaceAll(command, " ", "%20"))
		if err != nil {
			t.Fatal(err)
		}
		return schema
	}, commands
}

// TestJSONIsWhatTheSchemaSays has every command print JSON of a system in which
// there is something to list.
func TestJSONIsWhatTheSchemaSays(t *testing.T) {
	t.Parallel()
	of, commands := schemas(t)
	s := newSystem(t, kept("secdb")+"[kcm/socket pod]\npath = /run/pod\nuser = 20001\n").start()
	me, c := user(os.Getuid()), s.kcm()
	s.ctl(me, "", "debug-level", "9", "--kcm")
	alice := principal("alice")
	now := uint32(time.Now().Unix())
	if err := c.Initialize("", alice); err != nil {
		t.Fatal(err)
	}
	for _, tgs := range []string{"EXAMPLE.TEST", "OTHER.TEST"} {
		cred := protocol.Credential{Client: alice, Server: principal("krbtgt", tgs), Ticket: []byte("t"), Times: protocol.Times{Auth: now, End: now + 3600, RenewTill: now + 7200}}
		if err := c.Store("", cred); err != nil {
			t.Fatal(err)
		}
	}
	s.ctl(me, "x", "secrets", "set", "a-secret")
	arguments := map[string][]string{
		"config-check": {"-c", s.path("/etc/sssd/wrong.conf")},
		"analyze":      {"--user", fmt.Sprint(os.Getuid())},
	}
	s.write("/etc/sssd/wrong.conf", "[kcm]\nno_option = 1\n[nss]\nx = 1\n", 0o600)
	for _, command := range commands {
		args := append(strings.Fields(command), "-j")
		for _, more := range [][]string{nil, arguments[command]} {
			got := s.ctl(me, "", append(args, more...)...)
			document, err := jsonschema.UnmarshalJSON(strings.NewReader(got.stdout))
			if err != nil {
				t.Errorf("%s: %v: %+v", command, err, got)
				continue
			}
			if err := of(command).Validate(document); err != nil {
				t.Errorf("%s: %v: %s", command, err, got.stdout)
			}
			if list, ok := document.([]any); ok && len(list) == 0 && command != "secrets check" {
				t.Errorf("%s lists nothing; the test shows nothing", command)
			}
		}
	}
	var other any
	if err := json.Unmarshal([]byte(`[{"uid": -1}]`), &other); err != nil || of("ccache list").Validate(other) == nil {
		t.Error("the schema takes anything")
	}
}
