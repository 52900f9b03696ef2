package confdb

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Check says what is wrong with text as a value of o, naming what was
// expected. The empty text unsets an option and is always right. The value of
// a secret option is never part of the error.
func (o *Option) Check(text string) error {
	if text == "" {
		return nil
	}
	if err := o.checkKind(text); err != nil {
		if o.Secret {
			return fmt.Errorf("the value, which is not shown, is not %s as expected", o.Kind)
		}
		return fmt.Errorf("%w%s", err, commentHint(text))
	}
	if o.Refused != "" && !strings.EqualFold(text, o.Default) {
		return fmt.Errorf("'%s' cannot be served: %s", text, o.Refused)
	}
	return nil
}

func (o *Option) checkKind(text string) error {
	switch o.Kind {
	case Path:
		// A path with a blank and '#' in it is a comment far more likely.
		if !strings.HasPrefix(text, "/") || commentHint(text) != "" {
			return fmt.Errorf("'%s' is not an absolute path", text)
		}
	case Word:
		if o.word(text) == "" {
			return fmt.Errorf("'%s' is not known, expected one of: %s", text, strings.Join(o.Words, ", "))
		}
	case Bool:
		if !strings.EqualFold(text, "true") && !strings.EqualFold(text, "false") {
			return fmt.Errorf("'%s' is not a boolean, expected true or false", text)
		}
	case Int:
		n, err := parseInt(text)
		if err != nil {
			return err
		}
		return o.checkRange(n, text)
	case Duration:
		seconds, err := parseSeconds(text)
		if err != nil {
			return err
		}
		return o.checkRange(seconds, text)
	}
	return nil
}

// maxSeconds is the longest time.Duration.
const maxSeconds = math.MaxInt64 / int64(time.Second)

func (o *Option) checkRange(n int64, text string) error {
	high := o.Max
	if high == 0 {
		high = math.MaxInt32
	}
	if o.Kind == Duration {
		high = min(high, maxSeconds)
	}
	if n < o.Min || n > high {
		return fmt.Errorf("'%s' is out of range, expected %d to %d%s", text, o.Min, high, o.unit())
	}
	return nil
}

func (o *Option) unit() string {
	if o.Unit == "" {
		return ""
	}
	return " " + o.Unit
}

func (o *Option) word(text string) string {
	for _, word := range o.Words {
		if strings.EqualFold(word, text) {
			return word
		}
	}
	return ""
}

// commentHint explains the commonest mistake in a value: '#' and ';' begin a
// comment in the first column only.
func commentHint(text string) string {
	for _, mark := range []string{" #", "\t#", " ;", "\t;", " /*", "\t/*"} {
		if strings.Contains(text, mark) {
			return "; a comment must stand on a line of its own"
		}
	}
	return ""
}

// parseInt reads decimal and 0x hexadecimal. A leading zero is refused
// because SSSD took it for octal.
func parseInt(text string) (int64, error) {
	digits, negative := strings.CutPrefix(text, "-")
	base := 10
	if hex, isHex := strings.CutPrefix(strings.ToLower(digits), "0x"); isHex {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 63)
	if err != nil {
		return 0, fmt.Errorf("'%s' is not an integer, expected decimal or 0x hexadecimal", text)
	}
	signed := int64(n)
	if negative {
		signed = -signed
	}
	if base == 10 && len(digits) > 1 && digits[0] == '0' {
		return 0, fmt.Errorf("'%s' begins with a zero, which could mean octal; write %d, or 0x… for hexadecimal", text, signed)
	}
	return signed, nil
}

// parseSeconds reads seconds, or a sequence of numbers with d, h, m or s as
// in krb5's deltat: 60m, 1h, 1d12h.
func parseSeconds(text string) (int64, error) {
	n, err := parseInt(text)
	if err == nil || strings.Trim(text, "-0123456789") == "" {
		return n, err
	}
	var total int64
	units := "dhms" // those that may still follow
	for rest := strings.ToLower(text); rest != ""; {
		i := strings.IndexAny(rest, units)
		if i < 1 {
			return 0, notDuration(text)
		}
		n, err := strconv.ParseUint(rest[:i], 10, 31)
		if err != nil {
			return 0, notDuration(text)
		}
		// Below 2³¹ days and some: far from an overflow.
		total += int64(n) * unitSeconds(rest[i])
		units = units[strings.IndexByte(units, rest[i])+1:]
		rest = rest[i+1:]
	}
	return total, nil
}

func unitSeconds(unit byte) int64 {
	switch unit {
	case 'd':
		return 24 * 60 * 60
	case 'h':
		return 60 * 60
	case 'm':
		return 60
	}
	return 1
}

func notDuration(text string) error {
	return fmt.Errorf("'%s' is not a duration, expected seconds or a form like 60m, 1h, 1d12h", text)
}

func splitList(text string) []string {
	var elements []string
	for element := range strings.SplitSeq(text, ",") {
		if element = strings.TrimSpace(element); element != "" {
			elements = append(elements, element)
		}
	}
	return elements
}
