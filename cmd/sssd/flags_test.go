package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func TestSSSDsOwnCommandLinesAreTaken(t *testing.T) {
	for line, want := range map[string]string{
		"-i":                     "stderr",
		"-i -f":                  "files",
		"-D -f":                  "files",
		"-D --debug-to-files":    "files",
		"--disable-netlink -i":   "stderr",
		"-D --debug-to-stderr":   "stderr",
		"-i --logger=journald":   "journald",
		"-f --debug-level=0x3f0": "files",
	} {
		var out bytes.Buffer
		f, code, done := parseFlags(strings.Fields(line), &out, &out)
		if done || code != exitOK {
			t.Errorf("%q ends with %d: %s", line, code, out.String())
		}
		if args := f.log.Args(); !slices.Contains(args, "--logger="+want) {
			t.Errorf("%q makes responders log with %v, want %s", line, args, want)
		}
	}
}
