// Command bench compares sssd_kcm and sssd_secrets of this repository with
// SSSD's sssd_kcm, Heimdal's kcm, a server that answers from constants and the
// bare disk. All run in turn under one load generator, whose clients are
// processes of the users they stand for.
//
//	bench [-full] [-bin DIR] [-o TABLE.md] [-svg PLOT.svg]
//
// It prints a table. Peers that tests/setup.sh has not unpacked are left out, and without
// root all clients are of one user.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 2 {
		switch args[0] { // what this program starts itself as
		case "worker":
			return work(args[1])
		case "limit":
			return serveConstants(args[1])
		}
	}
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	full := set.Bool("full", false, "measure longer, and fill the peers' caches too")
	bin := set.String("bin", "bin", "where the programs to measure are")
	tests := set.String("tests", "tests", "the directory of realm.sh and overlay.sh")
	table := set.String("o", "", "write the table here too")
	plot := set.String("svg", "", "write the plot here")
	only := set.String("only", "", "only the servers whose names contain one of these words, with commas between")
	parts := set.String("parts", "", "only these parts: "+strings.Join(partNames(), ","))
	if err := set.Parse(args); err != nil {
		return err
	}
	b, err := newBench(*bin, *tests, *full)
	if err != nil {
		return err
	}
	defer b.close()
	b.choose(*only)
	failed := b.run(*parts)
	text := b.table()
	fmt.Print(text)
	if *table != "" {
		failed = errors.Join(failed, os.WriteFile(*table, []byte(text), 0o644))
	}
	if *plot != "" {
		failed = errors.Join(failed, os.WriteFile(*plot, []byte(b.plot()), 0o644))
	}
	return failed
}

// copyProgram copies this program to where every user may run it.
func copyProgram(dir string) (string, error) {
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", err
	}
	defer from.Close()
	path := filepath.Join(dir, "bench")
	to, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return "", err
	}
	if _, err := io.Copy(to, from); err != nil {
		_ = to.Close()
		return "", err
	}
	return path, to.Close()
}
