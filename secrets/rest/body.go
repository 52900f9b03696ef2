package rest

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	"gosssd/secrets"
	"gosssd/secrets/vault"
)

// The forms in which a secret is sent.
const (
	jsonType  = "application/json"
	octetType = "application/octet-stream"
)

// contentType returns which of the two forms a request is in, and wants its
// answer in. It is asked for with every request, as in 1.16; parameters such
// as a charset make no difference.
func contentType(r *http.Request) (string, error) {
	name, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || name != jsonType && name != octetType {
		return "", errBadRequest
	}
	return name, nil
}

// readBody reads a body of at most limit bytes. What is longer is refused
// before it is held.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, errTooLarge
	}
	expected := limit
	if r.ContentLength >= 0 {
		expected = r.ContentLength
	}
	const copies = 3 // of it, while it is decoded
	if err := takeMemory(r, copies*expected); err != nil {
		return nil, err
	}
	var body bytes.Buffer
	const step = 64 << 10
	body.Grow(int(min(max(r.ContentLength, 0), step)) + bytes.MinRead)
	if _, err := io.Copy(&body, http.MaxBytesReader(w, r.Body, limit)); err != nil {
		return nil, bodyError(err)
	}
	return body.Bytes(), nil
}

// bodyError tells a body that is too long from one that ended early.
func bodyError(err error) error {
	if status, _ := statusOf(err); status == errTooLarge.status {
		return errTooLarge
	}
	return errBadRequest
}

// bodyLimit is the longest body that can carry a value of so many bytes: JSON
// may write each byte as \u00XX.
func bodyLimit(form string, payload int64) int64 {
	const frame = 4096
	if form == jsonType {
		return 6*payload + frame
	}
	return payload
}

// decodeSecret returns the value in a body.
func decodeSecret(form string, body []byte) ([]byte, error) {
	switch {
	case len(body) == 0:
		return nil, errBadRequest
	case form == octetType:
		return body, nil
	case !utf8.Valid(body):
		return nil, errBadRequest
	}
	var fields map[string]json.RawMessage // names, unlike struct fields, must match in case
	var kind, value *string
	if json.Unmarshal(body, &fields) != nil ||
		json.Unmarshal(fields["type"], &kind) != nil || kind == nil ||
		json.Unmarshal(fields["value"], &value) != nil || value == nil {
		return nil, errBadRequest
	}
	if *kind != "simple" {
		return nil, errNotSimple
	}
	if isAltered(fields["value"], *value) {
		return nil, errBadRequest
	}
	return []byte(*value), nil
}

// isAltered reports whether the decoder put U+FFFD in place of half a surrogate
// pair: what was stored would not be what was sent.
func isAltered(raw json.RawMessage, value string) bool {
	sent := strings.Count(string(raw), "\uFFFD") + strings.Count(strings.ToLower(string(raw)), `\ufffd`)
	return strings.Count(value, "\uFFFD") > sent
}

// encodeSecret is the opposite of decodeSecret.
func encodeSecret(form string, value []byte) ([]byte, error) {
	if form == octetType {
		return value, nil
	}
	if !utf8.Valid(value) {
		return nil, errNotText
	}
	return encodeJSON(struct {
		Type  string `json:"type"`
		Value string `json:"value"`
	}{"simple", string(value)})
}

func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "    ")
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// listSize is the memory that a list of a user's secrets may take: JSON may
// write each byte of a name as \u00XX.
func listSize(limits secrets.Quota) int64 {
	if limits.UIDSecrets == 0 {
		return memoryShare
	}
	return 6 * vault.MaxKey * int64(limits.UIDSecrets)
}
