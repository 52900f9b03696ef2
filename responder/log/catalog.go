package log

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// message is a line that the journal's catalog explains: packaging/gosssd.catalog
// has an entry with cause and cure for each ID, which never changes once it was
// shipped.
type message struct {
	id    string   // 128 bit, random
	text  string   // of the line, without what follows
	codes []string // the line's code is one of these; nil: any other
}

// messages are looked through in this order.
var messages = []message{
	{"3ea6032d4123467393b3b2b1cc29bc98", "request refused", []string{"EDQUOT", "507", "413"}},
	{"5012752a7fa445f291fc008247dc3d18", "request refused", []string{"KRB5_FCC_NOFILE", "KRB5_FCC_PERM", "KRB5_CC_BADNAME", "EACCES", "403"}},
	{"502015bbf6794ecb9e7f53932ba1d493", "request refused", nil},
	{"b0c2ca9e6f1e4839ad6e746a475dae39", "request failed", []string{"ENOSPC"}},
	{"a3df9c10b6874fe9be5de01f12ea7f79", "request failed", nil},
	{"1779d6c34b344a97b5ddbced2be72253", "client dropped", nil},
	{"0f354e168a69423eb47d307a7bd843c8", "a ticket is not renewed", nil},
	{"1d409bbbc31542c5a1338773add6d488", "the vault cannot be opened, requests will fail", nil},
	{"1e56ab1113254e15946ac40095c13d30", "a damaged record is left alone", nil},
	{"8e78b0bcf0f445e78e9fe777662c71fa", "a responder has ended", nil},
	{"27618b7885674eb1b88e9490baf12a97", "cannot start", nil},
	{"2955e2eb5c764fceb7f5454e9d6ec1fb", "descriptors run short, the user with the most connections loses the one that has been silent longest", nil},
}

// messageID returns the ID of a line with this text and code, or "".
func messageID(text, code string) string {
	for _, m := range messages {
		if m.text == text && (m.codes == nil || slices.Contains(m.codes, code)) {
			return m.id
		}
	}
	return ""
}

// fieldPrefix is what the names of the journal's fields begin with that hold
// the pairs of a line: GOSSSD_UID, GOSSSD_CACHE.
const fieldPrefix = "GOSSSD_"

// fieldsOf returns the fields of the journal for the pairs of a line. Of pairs
// with one name the last holds.
func fieldsOf(client uint64, msg string, lists ...[]any) map[string]string {
	fields := map[string]string{}
	if client != 0 {
		fields[fieldPrefix+"CID"] = strconv.FormatUint(client, 10)
	}
	for _, pairs := range lists {
		for i := 0; i+1 < len(pairs); i += 2 {
			fields[fieldName(fmt.Sprint(pairs[i]))] = cut(fmt.Sprint(pairs[i+1]))
		}
	}
	if id := messageID(msg, fields[fieldPrefix+"CODE"]); id != "" {
		fields["MESSAGE_ID"] = id
	}
	return fields
}

// fieldName makes a field's name of a key: letters, digits and underscores
// (systemd.journal-fields(7)).
func fieldName(key string) string {
	return fieldPrefix + strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return r
		}
		return '_'
	}, key)
}
