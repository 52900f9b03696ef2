// Command clockshift builds programs whose wall clock a test can step, while that
// of the machine stays. A time namespace shifts no CLOCK_REALTIME, and programs
// that are linked statically preload no library; so this builds them with another
// time.Now, by go build -overlay. Timers and monotonic readings go on, as they do
// over a step of the real clock. Nothing of it is in the product.
//
//	clockshift -o DIR PACKAGE...
//
// The programs read the step, a 64-bit number of seconds in the machine's byte
// order, from the file that GOSSSD_TEST_CLOCK names when they start, and follow
// each change of it. What the kernel stamps, such as files, is not shifted.
package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// shift is a file of package time: see there.
//
//go:embed shift.txt
var shift string

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "clockshift:", err)
		os.Exit(1)
	}
}

func run() (err error) {
	out := flag.String("o", "", "the directory for the programs")
	flag.Parse()
	if *out == "" || flag.NArg() == 0 {
		return errors.New("needs a directory and packages: clockshift -o DIR PACKAGE")
	}
	dir, err := os.MkdirTemp("", "clockshift-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	overlay, err := writeOverlay(dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	build := exec.Command("go", append([]string{"build", "-overlay", overlay, "-o", *out + "/"}, flag.Args()...)...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stdout, build.Stderr = os.Stdout, os.Stderr
	return build.Run()
}

// writeOverlay writes package time's two files into dir, and returns the file that
// tells go build of them.
func writeOverlay(dir string) (overlay string, err error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env: %w", err)
	}
	src := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	text, err := os.ReadFile(filepath.Join(src, "time.go"))
	if err != nil {
		return "", err
	}
	renamed := strings.Replace(string(text), "\nfunc Now() Time {", "\nfunc unshifted() Time {", 1)
	if renamed == string(text) {
		return "", fmt.Errorf("%s/time.go has no func Now as it is known here", src)
	}
	list, err := json.Marshal(map[string]map[string]string{"Replace": {
		filepath.Join(src, "time.go"):  filepath.Join(dir, "time.go"),
		filepath.Join(src, "shift.go"): filepath.Join(dir, "shift.go"),
	}})
	overlay = filepath.Join(dir, "overlay.json")
	return overlay, errors.Join(err,
		os.WriteFile(filepath.Join(dir, "time.go"), []byte(renamed), 0o600),
		os.WriteFile(filepath.Join(dir, "shift.go"), []byte(shift), 0o600),
		os.WriteFile(overlay, list, 0o600))
}
