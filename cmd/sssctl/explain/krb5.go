package explain

import (
	"cmp"
	"errors"
	"os"
	"strconv"
	"strings"

	"gosssd/kdc/profile"
)

// Krb5 is what libkrb5 takes from krb5.conf and the environment for the KCM
// cache type. (MIT krb5's documentation, krb5_conf "default_ccache_name",
// "kcm_socket" and "Parameter expansion"; kerberos(7) "KRB5CCNAME".)
type Krb5 struct {
	Err         error
	Files       []string         // that are read
	Name        profile.Relation // of the default cache, expanded; Value is "" if it is not set
	Socket      profile.Relation // of the KCM server, expanded; the same
	Libdefaults profile.Origin   // the first line of the section in the first file; Line is 0 if there is none
	Env         string           // KRB5CCNAME
}

// ReadKrb5 reads files for a user.
func ReadKrb5(files []string, getenv func(string) string, uid uint32, name string) Krb5 {
	k := Krb5{Files: files, Env: getenv("KRB5CCNAME")}
	p, err := profile.Load(files...)
	if err != nil {
		k.Err = err
		return k
	}
	expand := expander(getenv, uid, name)
	first := func(key string) (r profile.Relation) {
		if all := p.Relations("libdefaults", key); len(all) > 0 {
			r = all[0]
		}
		r.Value = expand(r.Value)
		return r
	}
	k.Name, k.Socket = first("default_ccache_name"), first("kcm_socket")
	for _, file := range files {
		if k.Libdefaults.File == "" {
			k.Libdefaults = profile.Origin{File: file, Line: lineOf(file, "[libdefaults]")}
		}
	}
	return k
}

// lineOf returns the number of the first line of a file that begins with a word,
// or 0.
func lineOf(file, word string) int {
	text, _ := os.ReadFile(file)
	for i, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, word) {
			return i + 1
		}
	}
	return 0
}

// expander puts what they stand for in the place of %{uid} and the like.
func expander(getenv func(string) string, uid uint32, name string) func(string) string {
	number := strconv.FormatUint(uint64(uid), 10)
	return strings.NewReplacer("%{uid}", number, "%{euid}", number, "%{USERID}", number, "%{username}", name,
		"%{TEMP}", cmp.Or(getenv("TMPDIR"), "/tmp"), "%{null}", "").Replace
}

const wanted = "default_ccache_name = KCM:"

// isKCM reports whether a cache's name is of the type KCM. Without a colon it
// would name a file.
func isKCM(name string) bool { return strings.HasPrefix(name, "KCM:") }

func krb5Conf(s *Scene) Finding {
	k := s.Krb5
	switch {
	case errors.Is(k.Err, profile.ErrModule):
		return unchecked("only libkrb5 can read all of the configuration: %v", k.Err)
	case k.Err != nil:
		return problem("Kerberos programs cannot read their configuration: %v", k.Err).with(see(root, "correct %v", k.Err))
	case isKCM(k.Name.Value):
		return well("%s:%d makes %s the default cache", k.Name.File, k.Name.Line, k.Name.Value)
	case k.Name.Value == "KCM":
		return problem("Kerberos programs keep tickets in a file that is called KCM, as default_ccache_name in %s, line %d, says: the colon is missing",
			k.Name.File, k.Name.Line).with(Step{Do: Write, User: root, File: k.Name.File, Line: k.Name.Line, Text: "  " + wanted})
	case k.Name.Value != "":
		return problem("Kerberos programs keep tickets in %s, not in KCM, as default_ccache_name in %s, line %d, says", k.Name.Value, k.Name.File, k.Name.Line).
			with(Step{Do: Write, User: root, File: k.Name.File, Line: k.Name.Line, Text: "  " + wanted})
	}
	f := problem("default_ccache_name is not set, so Kerberos programs keep tickets where libkrb5 does by itself, not in KCM")
	if k.Libdefaults.Line > 0 {
		return f.with(Step{Do: After, User: root, File: k.Libdefaults.File, Line: k.Libdefaults.Line, Text: "  " + wanted})
	}
	return f.with(run(root, `printf '[libdefaults]\n  %s\n' >>%s`, wanted, k.Libdefaults.File))
}

func kcmSocket(s *Scene) Finding {
	k := s.Krb5
	if k.Socket.Value == "" || k.Socket.Value == s.Socket.Path || samePath(k.Socket.Value, s.Socket.Path) {
		return well("Kerberos programs look for the server at %s", s.Socket.Path)
	}
	return problem("Kerberos programs look for the server at %s, as kcm_socket in %s, line %d, says; it listens at %s",
		k.Socket.Value, k.Socket.File, k.Socket.Line, s.Socket.Path).
		with(Step{Do: Write, User: root, File: k.Socket.File, Line: k.Socket.Line, Text: "  kcm_socket = " + s.Socket.Path})
}

// samePath knows that /var/run is /run.
func samePath(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

func krb5ccname(s *Scene) Finding {
	switch {
	case !s.Of.Self:
		return unchecked("only %s can look at KRB5CCNAME in the own shell", s.Of.Name)
	case s.Krb5.Env == "":
		return well("the environment names no other cache")
	case isKCM(s.Krb5.Env):
		return well("the environment names %s", s.Krb5.Env)
	}
	return problem("KRB5CCNAME has programs use %s, whatever krb5.conf says", s.Krb5.Env).
		with(run(s.Of.Name, "unset KRB5CCNAME"))
}
