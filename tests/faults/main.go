// Command faults lays faults on servers of the KCM protocol: sssd_kcm of this
// build, that of an older build, SSSD's own and Heimdal's as Debian packages them. It
// prints what their clients saw, what was lost, whether it went on by itself
// and what the administrator reads, and how much memory and how much of the
// others' time one user could take.
//
//	faults [-bin DIR] [-before DIR] [-parts attacks,hostile,faults,histories,soak] [-o TABLE.md]
//
// It needs root: it works in a mount namespace of its own and is the clients of
// several users. Nothing outside its temporary directory is changed.
package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
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
	parts := set.String("parts", "attacks,hostile,faults", "what to run; histories and soak only if they are named")
	only := set.String("only", "", "only attacks and faults whose names contain this")
	onlySide := set.String("side", "", "of histories and hostile clients, only the servers whose names contain this")
	cycles := set.Int("cycles", 500, "how many faults the part histories lays on a server")
	seed := set.Uint64("seed", rand.Uint64(), "of the order of the faults in histories and the pauses between them")
	storage := set.String("storage", "secrets", "ccache_storage of our servers in histories; memory loses caches, which must be found")
	clock := set.Bool("clock", false, "step the clock of our programs in histories, which tests/clockshift has to have built")
	lasts := set.Duration("soak", time.Hour, "how long the part soak lasts")
	plot := set.String("svg", "", "write the plot of the soak here")
	table := set.String("o", "", "write the tables here too")
	if err := set.Parse(args); err != nil {
		return err
	}
	b := &bench{only: *only, onlySide: *onlySide, cycles: *cycles, seed: *seed, storage: *storage, clock: *clock, lasts: *lasts, plot: *plot, tests: *tests}
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
	for _, peer := range []*side{
		{name: "SSSD", debian: true, tree: "sssd", version: "sssd-kcm"},
		{name: "Heimdal", heimdal: true, tree: "heimdal", version: "heimdal-kcm"},
	} {
		tree, err := filepath.Abs(filepath.Join(tests, "../build", peer.tree))
		if err != nil {
			return nil, err
		}
		packages, err := os.ReadFile(tree + "/packages")
		if err != nil {
			fmt.Fprintf(os.Stderr, "SKIPPED: %s, which tests/setup.sh unpacks: %v\n", peer.name, err)
			continue
		}
		_, version, _ := strings.Cut(string(packages), "\n"+peer.version+" ")
		peer.version, _, _ = strings.Cut(version, "\n")
		peer.tree = tree
		if peer.overlay, err = filepath.Abs(filepath.Join(tests, "overlay.sh")); err != nil {
			return nil, err
		}
		all = append(all, peer)
	}
	return all, nil
}
