// Command faults lays faults on three servers of the KCM protocol: sssd_kcm of
// this build, that of an older build, and SSSD's own as Debian packages it. It
// prints what their clients saw, what was lost, whether it went on by itself
// and what the administrator reads, and how much memory and how much of the
// others' time one user could take.
//
//	faults [-bin DIR] [-before DIR] [-parts attacks,faults] [-o TABLE.md]
//
// It needs root: it works in a mount namespace of its own and is the clients of
// several users. Nothing outside its temporary directory is changed.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) > 0 {
		switch args[0] { // what this program starts itself as
		case "worker":
			return work(args[1])
		case "inside":
			return inside(args[1:])
		}
	}
	if os.Getuid() != 0 {
		return errors.New("needs root, for mounts and for clients of several users")
	}
	signal.Ignore(os.Interrupt) // the child ends, and removes what it made
	cmd := exec.Command("/proc/self/exe", append([]string{"inside"}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGTERM}
	return cmd.Run()
}

// inside runs in the mount namespace.
func inside(args []string) (err error) {
	set := flag.NewFlagSet("faults", flag.ContinueOnError)
	bin := set.String("bin", "bin", "where the programs of this build are")
	before := set.String("before", "", "where the programs of an older build are; none: it is left out")
	tests := set.String("tests", "tests", "the directory of overlay.sh")
	parts := set.String("parts", "attacks,faults", "what to run")
	only := set.String("only", "", "only attacks and faults whose names contain this")
	table := set.String("o", "", "write the tables here too")
	if err := set.Parse(args); err != nil {
		return err
	}
	b := &bench{only: *only}
	if b.dir, err = os.MkdirTemp("", "gosssd-faults-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if err := os.Chmod(b.dir, 0o755); err != nil {
		return err
	}
	if b.sides, err = sides(*bin, *before, *tests); err != nil {
		return err
	}
	defer b.stopAll()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	ended := make(chan error, 1)
	go func() { ended <- b.run(*parts) }()
	select {
	case err = <-ended:
	case s := <-interrupted:
		return fmt.Errorf("ended by %v", s)
	}
	text := b.tables()
	fmt.Print(text)
	if *table != "" {
		err = errors.Join(err, os.WriteFile(*table, []byte(text), 0o644))
	}
	return err
}

// sides are the servers that can be had.
func sides(bin, before, tests string) ([]*side, error) {
	var all []*side
	for _, s := range []*side{{name: "before", bin: before}, {name: "gosssd", bin: bin}} {
		if s.bin == "" {
			continue
		}
		if _, err := os.Stat(filepath.Join(s.bin, "sssd_kcm")); err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		all = append(all, s)
	}
	tree, err := filepath.Abs(filepath.Join(tests, "../build/sssd"))
	if err != nil {
		return nil, err
	}
	packages, err := os.ReadFile(tree + "/packages")
	if err != nil {
		fmt.Fprintln(os.Stderr, "SKIPPED: SSSD's sssd_kcm, which tests/setup.sh unpacks:", err)
		return all, nil
	}
	_, version, _ := strings.Cut(string(packages), "\nsssd-kcm ")
	version, _, _ = strings.Cut(version, "\n")
	overlay, err := filepath.Abs(filepath.Join(tests, "overlay.sh"))
	return append(all, &side{name: "SSSD", version: version, debian: true, overlay: overlay, tree: tree}), err
}
