package protocol

import (
	"encoding/hex"
	"fmt"
)

// UUID identifies a cache or a credential. To clients it is 16 opaque bytes.
type UUID [16]byte

const uuidTextSize = 36

// String returns the usual text, lower case in groups of 8-4-4-4-12 digits.
func (id UUID) String() string {
	return string(id.AppendText(make([]byte, 0, uuidTextSize)))
}

// AppendText appends what String returns.
func (id UUID) AppendText(b []byte) []byte {
	for i, end := range [...]int{4, 6, 8, 10, 16} {
		if i > 0 {
			b = append(b, '-')
		}
		start := [...]int{0, 4, 6, 8, 10}[i]
		b = hex.AppendEncode(b, id[start:end])
	}
	return b
}

// ParseUUID reads what String wrote.
func ParseUUID(text string) (UUID, error) {
	var id UUID
	if len(text) != uuidTextSize || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return id, fmt.Errorf("%q is not a UUID: %w", text, ErrMalformed)
	}
	digits := text[:8] + text[9:13] + text[14:18] + text[19:23] + text[24:]
	if _, err := hex.Decode(id[:], []byte(digits)); err != nil {
		return UUID{}, fmt.Errorf("%q is not a UUID: %w", text, ErrMalformed)
	}
	if id.String() != text {
		return UUID{}, fmt.Errorf("%q is not a UUID in lower case: %w", text, ErrMalformed)
	}
	return id, nil
}
