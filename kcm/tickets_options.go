package kcm

import (
	"slices"
	"strings"

	"gosssd/confdb"
	"gosssd/kcm/protocol"
	"gosssd/responder"
)

// Keys of the options of tickets that the server gets.
const (
	ticketsKey = "get_tickets"
	guardKey   = "guard"
	forwardKey = "guard_forward"
)

// The words of options that are no plain booleans.
const (
	wordNo  = "no"
	wordYes = "yes"
)

func ticketsOptions() []confdb.Option {
	return []confdb.Option{
		{Key: ticketsKey, Kind: confdb.Word, Default: wordNo, Words: []string{wordNo, wordYes},
			Text: "Get tickets for services that a cache lacks from the KDC, when a client asks for them"},
		{Key: guardKey, Kind: confdb.List, Default: wordNo,
			Text: "Whose ticket-granting tickets are shown without their key to all but root: no, yes for everyone's, or principals, where * stands for any text"},
		{Key: forwardKey, Kind: confdb.Word, Default: wordNo, Words: []string{wordNo, wordYes},
			Text: "Whether a program that asks for a forwarded ticket-granting ticket gets one with its key although the key of the cache's own is guarded"},
	}
}

// getsTickets reports whether tickets are got for clients.
func getsTickets(conf *confdb.Snapshot) bool {
	return conf.Section(section).String(ticketsKey) == wordYes
}

// checkGuard says what keeps the keys from being guarded.
func checkGuard(conf *confdb.Snapshot) []responder.Remark {
	remark := func(text string) []responder.Remark {
		return []responder.Remark{{Section: section, Key: guardKey, Text: text}}
	}
	patterns := conf.Section(section).List(guardKey)
	for _, pattern := range patterns {
		word := strings.ToLower(pattern)
		isWord := word == wordYes || word == wordNo
		switch {
		case isWord && len(patterns) > 1:
			return remark("'" + pattern + "' stands for all principals or none, and so alone")
		case !isWord && !strings.ContainsAny(pattern, "@*"):
			return remark("'" + pattern + "' is no principal; expected yes, no, or principals such as *@EXAMPLE.COM")
		}
	}
	if len(guardOf(conf)) == 0 && conf.Section(section).String(forwardKey) == wordYes {
		return []responder.Remark{{Section: section, Key: forwardKey, Text: "needs " + guardKey + ": without it every program can get a forwarded ticket itself"}}
	}
	if len(guardOf(conf)) > 0 && !getsTickets(conf) {
		return remark("needs " + ticketsKey + " = yes: without the key of the ticket-granting ticket programs cannot get tickets themselves")
	}
	return nil
}

// guard is the patterns of principals whose keys stay in the server.
type guard []string

func guardOf(conf *confdb.Snapshot) guard {
	patterns := conf.Section(section).List(guardKey)
	if len(patterns) == 1 {
		switch strings.ToLower(patterns[0]) {
		case wordNo:
			return nil
		case wordYes:
			return guard{"*"}
		}
	}
	return patterns
}

// covers reports whether the guard holds for the tickets of a principal.
func (g guard) covers(client protocol.Principal) bool {
	if len(g) == 0 || g[0] == "*" {
		return len(g) > 0
	}
	principal := client.String()
	return slices.ContainsFunc(g, func(pattern string) bool { return matches(pattern, principal) })
}

// matches reports whether a text is as a pattern says, in which each * stands
// for any text.
func matches(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	first, last := parts[0], parts[len(parts)-1]
	if len(parts) == 1 {
		return pattern == text
	}
	if !strings.HasPrefix(text, first) || !strings.HasSuffix(text[len(first):], last) {
		return false
	}
	text = text[len(first) : len(text)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = after
	}
	return true
}
