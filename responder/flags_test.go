package responder

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"gosssd/confdb"
)

// Units, drop-ins and scripts that were written for SSSD go on working.
func TestSSSDsOwnCommandLinesAreTaken(t *testing.T) {
	d := Descriptor{Name: "kcm", Sections: []confdb.Section{{Name: "kcm"}}}
	for line, want := range map[string]string{
		"":                                  "files",
		"--uid 0 --gid 0":                   "files",
		"--uid 0 --gid 0 --logger=journald": "journald",
		"--uid 0 --gid 0 --debug-to-files":  "files",
		"--uid=0 --gid=0 -d 0x3ff0 --debug-timestamps=1 --debug-microseconds=0 --debug-to-stderr": "stderr",
		"-f --debug-level 3": "files",
		fmt.Sprintf("--uid %d --gid %d", os.Geteuid(), os.Getegid()): "files",
	} {
		var stderr bytes.Buffer
		f, code, done := parseFlags(d, strings.Fields(line), &stderr, &stderr)
		if done || code != exitOK {
			t.Errorf("%q ends with %d: %s", line, code, stderr.String())
		}
		if string(f.logger) != want {
			t.Errorf("%q logs to %s, want %s", line, f.logger, want)
		}
	}
}

func TestCommandLinesThatCannotWorkAreRefused(t *testing.T) {
	d := Descriptor{Name: "kcm", Sections: []confdb.Section{{Name: "kcm"}}}
	for line, want := range map[string]string{
		"--uid 4711":      "start it as that user instead",
		"--gid 4711":      "does not change its group",
		"--uid many":      `"many" is neither 0 nor`,
		"--logger=syslog": "expected stderr, files or journald",
		"--no-such":       "no-such",
	} {
		var stdout, stderr bytes.Buffer
		_, code, done := parseFlags(d, strings.Fields(line), &stdout, &stderr)
		if !done || code != exitUsage || !strings.Contains(stderr.String(), want) {
			t.Errorf("%q ends with %d: %s", line, code, stderr.String())
		}
		if strings.Contains(stderr.String(), "--gid ") && strings.Contains(stderr.String(), "ignored") {
			t.Errorf("options that mean nothing are advertised: %s", stderr.String())
		}
	}
}
