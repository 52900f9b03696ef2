package log

import (
	"fmt"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

func (l *Logger) text(msg string, args []any) string {
	if len(args) == 0 && len(l.fields) == 0 && l.name == "" {
		return cut(msg)
	}
	var b strings.Builder
	if l.name != "" {
		b.WriteString(l.name + ": ")
	}
	b.WriteString(cut(msg))
	separator := ": "
	for _, pairs := range [][]any{l.fields, args} {
		for i := 0; i+1 < len(pairs); i += 2 {
			fmt.Fprintf(&b, "%s%v=%s", separator, pairs[i], printable(cut(fmt.Sprint(pairs[i+1]))))
			separator = " "
		}
	}
	return b.String()
}

// A value that is longer than maxValue bytes is written without its middle:
// clients choose names, and errors begin with what failed and end with why.
const (
	maxValue = 2048
	cutHead  = 1536
	cutTail  = 384
)

func cut(value string) string {
	if len(value) <= maxValue {
		return value
	}
	head, tail := cutHead, len(value)-cutTail
	for head > cutHead-utf8.UTFMax && !utf8.RuneStart(value[head]) {
		head--
	}
	for tail < len(value)-cutTail+utf8.UTFMax && !utf8.RuneStart(value[tail]) {
		tail++
	}
	return fmt.Sprintf("%s[%d bytes are left out]%s", value[:head], tail-head, value[tail:])
}

// printable quotes a value that would let a client forge lines or pairs.
func printable(value string) string {
	if strings.ContainsFunc(value, unprintable) {
		return strconv.Quote(value)
	}
	return value
}

func unprintable(r rune) bool {
	return r == ' ' || r == '"' || r == utf8.RuneError || !unicode.IsPrint(r)
}

// blank replaces a rune that a line cannot show.
func blank(r rune) rune {
	if r != ' ' && !unicode.IsPrint(r) {
		return utf8.RuneError
	}
	return r
}

// position resolves the place of an entry.
func (e entry) position() (file string, line int, function string) {
	if e.place == 0 {
		return "", 0, ""
	}
	frame, _ := runtime.CallersFrames([]uintptr{e.place}).Next()
	return frame.File, frame.Line, plainName(frame.Function)
}

// closure is what the compiler appends to a function for one inside it.
var closure = regexp.MustCompile(`(\.(func)?\d+|-range\d+)+$`)

// plainName reduces gosssd/kcm.(*Server).serve.func1 to serve.
func plainName(function string) string {
	function = closure.ReplaceAllString(function, "")
	return function[strings.LastIndexByte(function, '.')+1:]
}
