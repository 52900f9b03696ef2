package kcm

import (
	"gosssd/confdb"
	"gosssd/kcm/logins"
	"gosssd/responder"
)

const (
	sessionsKey     = "session_caches"
	sessionsDefault = "default" // its third word, besides no and yes
)

func sessionsOption() confdb.Option {
	return confdb.Option{
		Key: sessionsKey, Kind: confdb.Word, Default: wordNo, Words: []string{wordNo, wordYes, sessionsDefault},
		Text: "Whether a cache that a login session has made, under a name that the server made up, ends with that session; with default the user's default cache ends with the last one too",
	}
}

// bindsSessions reports whether caches are to end with login sessions.
func bindsSessions(conf *confdb.Snapshot) bool {
	return conf.Section(section).String(sessionsKey) != wordNo
}

// adviseSessions says where session_caches has no effect.
func adviseSessions(conf *confdb.Snapshot) []responder.Remark {
	if !bindsSessions(conf) || logins.Running() {
		return nil
	}
	return []responder.Remark{{Section: section, Key: sessionsKey,
		Text: "has no effect on this machine: systemd-logind does not run, so no login session is known, and no cache ends with one"}}
}
