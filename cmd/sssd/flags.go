package main

import (
	"errors"
	"io"
	"os"

	"github.com/spf13/pflag"

	"gosssd/confdb"
	"gosssd/layout"
	"gosssd/responder"
)

// flags is the command line of sssd.
type flags struct {
	log     responder.LogFlags
	root    responder.Root
	config  string
	daemon  bool
	genconf bool
	section string // the one section --genconf-section rebuilds
}

func parseFlags(args []string, stdout, stderr io.Writer) (f flags, code int, done bool) {
	set := pflag.NewFlagSet(layout.Current().Monitor, pflag.ContinueOnError)
	f.log.Add(set)
	set.BoolVarP(&f.daemon, "daemon", "D", false, "become a daemon (the default)")
	interactive := set.BoolP("interactive", "i", false, "stay in the foreground; log to stderr unless --logger says otherwise")
	set.StringVarP(&f.config, "config", "c", "", "read `FILE` instead of sssd.conf")
	set.BoolVarP(&f.genconf, "genconf", "g", false, "check sssd.conf, rebuild the configuration database and exit")
	set.StringVarP(&f.section, "genconf-section", "s", "", "the same for the section `NAME` only")
	responder.AddIgnored(set, "disable-netlink")
	root := set.String("root", "", "put `DIR` in front of every path")
	if code, done = responder.ParseFlags(layout.Current().Monitor, set, args, stdout, stderr); done {
		return f, code, true
	}
	if f.daemon && *interactive {
		return f, responder.UsageError(layout.Current().Monitor, set, errors.New("--daemon and --interactive exclude each other"), stderr), true
	}
	var err error
	if f.root, err = responder.MakeRoot(*root); err != nil {
		return f, fail(exitUsage, err), true
	}
	f.genconf = f.genconf || f.section != ""
	f.daemon = !*interactive
	if *interactive {
		return f, exitOK, f.log.DefaultTo("stderr") != nil
	}
	return f, exitOK, false
}

// sources is where the configuration is read from, and who must own it.
func (f flags) sources() confdb.Sources {
	s := confdb.Sources{File: f.config, SnippetDir: f.root.Path(responder.SnippetDir)}
	if s.File == "" {
		s.File = f.root.Path(responder.ConfigFile)
	}
	if f.root.Within() {
		s.OwnerUID = uint32(os.Getuid())
	}
	return s
}
