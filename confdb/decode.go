package confdb

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// encodings are the byte-order marks libini knows. That of UTF-32 in little
// endian begins with that of UTF-16 and must be tried first.
var encodings = []struct {
	mark   string
	decode func([]byte) ([]byte, *SyntaxError)
}{
	{"\xff\xfe\x00\x00", utf32Decoder(binary.LittleEndian)},
	{"\x00\x00\xfe\xff", utf32Decoder(binary.BigEndian)},
	{"\xff\xfe", utf16Decoder(binary.LittleEndian)},
	{"\xfe\xff", utf16Decoder(binary.BigEndian)},
	{"\xef\xbb\xbf", checkUTF8},
}

// decode returns the text of a file as UTF-8 without byte-order mark.
func decode(data []byte) ([]byte, *SyntaxError) {
	for _, e := range encodings {
		if rest, found := bytes.CutPrefix(data, []byte(e.mark)); found {
			return e.decode(rest)
		}
	}
	return checkUTF8(data)
}

func checkUTF8(text []byte) ([]byte, *SyntaxError) {
	for at := 0; at < len(text); {
		r, size := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && size == 1 {
			return nil, encodingError(text[:at], utf8.FullRune(text[at:]))
		}
		at += size
	}
	return text, nil
}

// lowSurrogate is the first code unit that cannot begin a pair.
const lowSurrogate = 0xdc00

func utf16Decoder(order binary.ByteOrder) func([]byte) ([]byte, *SyntaxError) {
	return func(data []byte) ([]byte, *SyntaxError) {
		var text []byte
		for len(data) >= 2 {
			r, size := rune(order.Uint16(data)), 2
			if utf16.IsSurrogate(r) {
				if len(data) < 4 {
					return nil, encodingError(text, r >= lowSurrogate)
				}
				r, size = utf16.DecodeRune(r, rune(order.Uint16(data[2:]))), 4
				if r == utf8.RuneError {
					return nil, encodingError(text, true)
				}
			}
			text = utf8.AppendRune(text, r)
			data = data[size:]
		}
		if len(data) > 0 {
			return nil, encodingError(text, false)
		}
		return text, nil
	}
}

func utf32Decoder(order binary.ByteOrder) func([]byte) ([]byte, *SyntaxError) {
	return func(data []byte) ([]byte, *SyntaxError) {
		var text []byte
		for ; len(data) >= 4; data = data[4:] {
			r := order.Uint32(data)
			if r > utf8.MaxRune || !utf8.ValidRune(rune(r)) {
				return nil, encodingError(text, true)
			}
			text = utf8.AppendRune(text, rune(r))
		}
		if len(data) > 0 {
			return nil, encodingError(text, false)
		}
		return text, nil
	}
}

// encodingError reports a character that is wrong, or that is not complete,
// right behind the text decoded so far.
func encodingError(before []byte, complete bool) *SyntaxError {
	e := &SyntaxError{Code: badEncoding, Line: 1 + bytes.Count(before, []byte("\n")), Hint: "The file must be UTF-8."}
	if !complete {
		e.Code, e.Hint = invalidCharacter, "The file ends in the middle of it."
	}
	return e
}
