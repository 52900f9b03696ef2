package vectors

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"gosssd/kcm/protocol"
)

// credential is a credential of a file; its times are relative to the run's.
type credential struct {
	fixed                       protocol.Credential
	auth, start, end, renewTill clockTime
}

// clockTime is in seconds, after now or, if it is absolute, since 1970.
type clockTime struct {
	seconds  int64
	absolute bool
}

func (t clockTime) at(now time.Time) uint32 {
	if t.absolute {
		return uint32(t.seconds)
	}
	return uint32(now.Unix() + t.seconds)
}

func (c credential) at(now time.Time) protocol.Credential {
	cred := c.fixed
	cred.Times = protocol.Times{Auth: c.auth.at(now), Start: c.start.at(now), End: c.end.at(now), RenewTill: c.renewTill.at(now)}
	return cred
}

// parseCredential reads "field=value field=value".
func parseCredential(name, fields string) (credential, error) {
	c := credential{
		fixed:     protocol.Credential{Key: protocol.Keyblock{Enctype: 18, Key: bytes.Repeat([]byte{0x11}, 32)}, Ticket: []byte(name)},
		end:       clockTime{seconds: 36000},
		renewTill: clockTime{absolute: true},
	}
	for field := range strings.FieldsSeq(fields) {
		key, value, _ := strings.Cut(field, "=")
		if err := c.set(key, value); err != nil {
			return c, fmt.Errorf("%s of credential %s: %w", key, name, err)
		}
	}
	return c, nil
}

func (c *credential) set(key, value string) (err error) {
	switch key {
	case "client":
		c.fixed.Client = parsePrincipal(value)
	case "server":
		c.fixed.Server = parsePrincipal(value)
	case "key":
		c.fixed.Key.Key, err = hex.DecodeString(value)
	case "ticket":
		c.fixed.Ticket = []byte(value)
	case "second":
		c.fixed.SecondTicket = []byte(value)
	case "etype", "skey", "flags":
		return c.setNumber(key, value)
	case "authdata":
		c.fixed.AuthData = []protocol.Element{{Type: 1, Data: []byte(value)}}
	case "auth":
		c.auth, err = parseTime(value)
	case "start":
		c.start, err = parseTime(value)
	case "end":
		c.end, err = parseTime(value)
	case "renew":
		c.renewTill, err = parseTime(value)
	default:
		return fmt.Errorf("no such field")
	}
	return err
}

func (c *credential) setNumber(key, value string) error {
	n, err := strconv.ParseUint(value, 0, 32)
	switch key {
	case "etype":
		c.fixed.Key.Enctype = int16(n)
	case "skey":
		c.fixed.IsSkey = uint8(n)
	case "flags":
		c.fixed.TicketFlags = uint32(n)
	}
	return err
}

func parseTime(text string) (clockTime, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	return clockTime{seconds: n, absolute: text[0] != '+' && text[0] != '-'}, err
}

// parsePrincipal reads component/component@REALM, of the usual name type 1.
func parsePrincipal(text string) protocol.Principal {
	names, realm, _ := strings.Cut(text, "@")
	p := protocol.Principal{Type: 1, Realm: []byte(realm)}
	for component := range strings.SplitSeq(names, "/") {
		p.Components = append(p.Components, []byte(component))
	}
	return p
}
