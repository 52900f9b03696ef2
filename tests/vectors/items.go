package vectors

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"gosssd/kcm/protocol"
)

// values is what a running case knows: users, the time, and captured names
// and UUIDs with their "$".
type values struct {
	uids     map[string]uint32
	now      time.Time
	creds    map[string]credential
	captured map[string][]byte
}

// encode appends one item in its wire form.
func (v *values) encode(b []byte, item string) ([]byte, error) {
	kind, text, _ := strings.Cut(item, ":")
	if strings.HasPrefix(text, "$") {
		bytes, known := v.captured[text]
		if !known {
			return nil, fmt.Errorf("%s is not captured", text)
		}
		return append(b, bytes...), nil
	}
	text = v.expand(text)
	switch kind {
	case "name":
		return protocol.AppendName(b, text), nil
	case "princ":
		return protocol.AppendPrincipal(b, parsePrincipal(text)), nil
	case "u8", "u16", "u32", "i32":
		return appendNumber(b, kind, text)
	case "uuid":
		id, err := protocol.ParseUUID(text)
		return append(b, id[:]...), err
	case "hex":
		return hex.AppendDecode(b, []byte(text))
	case "cred":
		raw, err := v.credential(text)
		return append(b, raw...), err
	case "creds":
		return v.appendList(b, text)
	case "tag":
		return v.appendTag(b, text)
	}
	return nil, fmt.Errorf("item %q is of no known kind", item)
}

// expand replaces {user} by the user's uid.
func (v *values) expand(text string) string {
	for user, uid := range v.uids {
		text = strings.ReplaceAll(text, "{"+user+"}", strconv.FormatUint(uint64(uid), 10))
	}
	return text
}

func appendNumber(b []byte, kind, text string) ([]byte, error) {
	bits, err := strconv.Atoi(kind[1:])
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseInt(text, 0, 64)
	if err != nil {
		return nil, err
	}
	whole := binary.BigEndian.AppendUint64(nil, uint64(n))
	return append(b, whole[8-bits/8:]...), nil
}

func (v *values) credential(name string) ([]byte, error) {
	cred, known := v.creds[name]
	if !known {
		return nil, fmt.Errorf("no credential %q", name)
	}
	return protocol.AppendCredential(nil, cred.at(v.now)), nil
}

func (v *values) appendList(b []byte, names string) ([]byte, error) {
	var list [][]byte
	for name := range strings.SplitSeq(names, ",") {
		if name == "" {
			continue
		}
		raw, err := v.credential(name)
		if err != nil {
			return nil, err
		}
		list = append(list, raw)
	}
	return protocol.AppendCredentialList(b, list), nil
}

// appendTag describes a credential by some of its fields, "name/field,field".
func (v *values) appendTag(b []byte, text string) ([]byte, error) {
	name, fields, _ := strings.Cut(text, "/")
	cred, known := v.creds[name]
	if !known {
		return nil, fmt.Errorf("no credential %q", name)
	}
	from, tag := cred.at(v.now), protocol.Credtag{}
	for field := range strings.SplitSeq(fields, ",") {
		switch field {
		case "client":
			tag.Present, tag.Client = tag.Present|protocol.HasClient, from.Client
		case "server":
			tag.Present, tag.Server = tag.Present|protocol.HasServer, from.Server
		case "key":
			tag.Present, tag.Key = tag.Present|protocol.HasKey, from.Key
		case "second":
			tag.Present, tag.SecondTicket = tag.Present|protocol.HasSecondTicket, from.SecondTicket
		case "authdata":
			tag.Present, tag.AuthData = tag.Present|protocol.HasAuthData, from.AuthData
		case "times":
			tag.Times = from.Times
		case "skey":
			tag.IsSkey = from.IsSkey
		case "flags":
			tag.TicketFlags = from.TicketFlags
		default:
			return nil, fmt.Errorf("no field %q of a credential", field)
		}
	}
	return protocol.AppendCredtag(b, tag), nil
}

// match compares results with the items expected, and captures what has a "$"
// and is not known yet.
func (v *values) match(results []byte, items []string) error {
	for _, item := range items {
		if item == "rest" {
			return nil
		}
		kind, text, _ := strings.Cut(item, ":")
		if _, known := v.captured[text]; strings.HasPrefix(text, "$") && !known {
			size, err := captureSize(results, kind)
			if err != nil {
				return err
			}
			v.captured[text] = slices.Clone(results[:size])
			results = results[size:]
			continue
		}
		want, err := v.encode(nil, item)
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(results, want) {
			return fmt.Errorf("expected %s, %x, got %x", item, want, results)
		}
		results = results[len(want):]
	}
	if len(results) > 0 {
		return fmt.Errorf("%d bytes too many: %x", len(results), results)
	}
	return nil
}

func captureSize(results []byte, kind string) (int, error) {
	switch end := bytes.IndexByte(results, 0); {
	case kind == "uuid" && len(results) >= 16:
		return 16, nil
	case kind == "name" && end >= 0:
		return end + 1, nil
	}
	return 0, fmt.Errorf("no %s in %x", kind, results)
}
