package confdb

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Check says what is wrong with text as a value of o, naming what was
// expected. The empty text unsets an option and is always right, and so is any
// text of an option that is not served. The value of a secret option is never
// part of the error.
func (o *Option) Check(text string) error {
	if text == "" || o.NotServed != "" {
		return nil
	}
	err := o.checkKind(text)
	if err == nil {
		return nil
	}
	if o.Secret {
		return fmt.Errorf("the value, which is not shown, is not %s as expected", o.Kind)
	}
	return fmt.Errorf("%w%s", err, valueHint(text))
}

func (o *Option) checkKind(text string) error {
	switch o.Kind {
	case Path:
		// A path with a blank and '#' in it is a comment far more likely.
		if !strings.HasPrefix(text, "/") || commentHint(text) != "" {
			return fmt.Errorf("%s is not an absolute path", quoted(text))
		}
	case Word:
		if o.word(text) == "" {
			return fmt.Errorf("%s is not known, expected one of: %s", quoted(text), strings.Join(o.Words, ", "))
		}
	case Bool:
		if !strings.EqualFold(text, "true") && !strings.EqualFold(text, "false") {
			return fmt.Errorf("%s is not a boolean, expected true or false", quoted(text))
		}
	case Mode:
		if _, err := parseMode(text); err != nil {
			return fmt.Errorf("%s is not an octal mode such as 0600", quoted(text))
		}
	case Int, Duration:
		n, err := o.number(text)
		switch {
		case errors.Is(err, errTooLarge):
			return o.outOfRange(text)
		case err != nil:
			return err
		case !o.Clamp && n != o.clamp(n):
			return o.outOfRange(text)
		}
	}
	return nil
}

// maxSeconds is the longest time.Duration.
const maxSeconds = math.MaxInt64 / int64(time.Second)

// highest is the largest number that o takes.
func (o *Option) highest() int64 {
	high := o.Max
	if high == 0 {
		high = math.MaxInt32
	}
	if o.Kind == Duration {
		high = min(high, maxSeconds)
	}
	return high
}

// clamp returns what n counts as: itself if it is in range, else the bound.
func (o *Option) clamp(n int64) int64 {
	if n == 0 && o.ZeroToo {
		return 0
	}
	return max(o.Min, min(n, o.highest()))
}

func (o *Option) outOfRange(text string) error {
	zero := ""
	if o.ZeroToo {
		zero = "0, or "
	}
	return fmt.Errorf("%s is out of range, expected %s%d to %d%s", quoted(text), zero, o.Min, o.highest(), o.unit())
}

func (o *Option) unit() string {
	if o.Unit == "" {
		return ""
	}
	return " " + o.Unit
}

// number returns text as an Int or Duration, whatever the range.
func (o *Option) number(text string) (int64, error) {
	if o.Kind == Duration {
		return parseSeconds(text)
	}
	n, err := parseInt(text)
	if errors.Is(err, errNotInteger) {
		what := ""
		if o.Unit != "" {
			what = "a number of " + o.Unit + " in "
		}
		return 0, fmt.Errorf("%s is not an integer, expected %sdecimal or 0x hexadecimal", quoted(text), what)
	}
	return n, err
}

// adjusted says as what an accepted text counts, if not as what an
// administrator has probably meant; "" if there is nothing to say.
func (o *Option) adjusted(text string) string {
	if o.Kind != Int && o.Kind != Duration || o.NotServed != "" {
		return ""
	}
	n, err := o.number(text)
	if err != nil {
		return ""
	}
	counts := o.clamp(n)
	switch {
	case n < counts:
		return fmt.Sprintf("%s is below the smallest value; %d%s is in force", quoted(text), counts, o.unit())
	case n > counts:
		return fmt.Sprintf("%s is above the largest value; %d%s is in force", quoted(text), counts, o.unit())
	}
	if o.Odd != nil {
		if odd := o.Odd(n); odd != "" {
			return quoted(text) + " " + odd
		}
	}
	if o.Kind == Int && isOctal(text) {
		return fmt.Sprintf("%s begins with a zero and is octal, as in SSSD: it is %d%s", quoted(text), n, o.unit())
	}
	return ""
}

// inForce returns the text that counts where the option is set to text, which
// has passed Check.
func (o *Option) inForce(text string) string {
	if text == "" {
		return o.Default
	}
	if o.Clamp {
		if n, err := o.number(text); err == nil && n != o.clamp(n) {
			return strconv.FormatInt(o.clamp(n), 10)
		}
	}
	return text
}

// parseMode reads three octal digits, with or without a zero before them.
func parseMode(text string) (fs.FileMode, error) {
	if len(text) == 4 && text[0] == '0' {
		text = text[1:]
	}
	if len(text) != 3 || strings.Trim(text, "01234567") != "" {
		return 0, fs.ErrInvalid
	}
	mode, err := strconv.ParseUint(text, 8, 9)
	return fs.FileMode(mode), err
}

func (o *Option) word(text string) string {
	for _, word := range o.Words {
		if strings.EqualFold(word, text) {
			return word
		}
	}
	return ""
}

// maxQuoted is how much of a value is told, in bytes.
const maxQuoted = 200

// quoted writes a value in quotes, cut if it is long. What cannot be seen is
// written as an escape, such as \u00a0 for a no-break space.
func quoted(text string) string {
	if len(text) > maxQuoted {
		return fmt.Sprintf("%s and %d bytes more", quoted(strings.ToValidUTF8(text[:maxQuoted], "")), len(text)-maxQuoted)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return "'" + text + "'"
}

// valueHint explains what is most likely wrong with a value.
func valueHint(text string) string {
	for _, r := range text {
		if r >= 0x80 && unicode.IsSpace(r) {
			return fmt.Sprintf("; the character U+%04X looks like a blank but is not one", r)
		}
	}
	return commentHint(text)
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

// splitList returns the elements of a list. As in SSSD only what is blank in C
// is taken from their ends.
func splitList(text string) []string {
	var elements []string
	for element := range strings.SplitSeq(text, ",") {
		if element = strings.Trim(element, blank); element != "" {
			elements = append(elements, element)
		}
	}
	return elements
}
