package confdb

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// The errors of parseInt.
var (
	errNotInteger = errors.New("not an integer")
	errTooLarge   = errors.New("too large")
)

// ParseInt reads an integer, from 0 to the largest of 32 bits, as options of
// kind Int are read. The error says what was expected.
func ParseInt(text string) (int64, error) {
	o := Option{Kind: Int}
	if text == "" {
		return 0, errors.New("an integer is missing")
	}
	if err := o.Check(text); err != nil {
		return 0, err
	}
	return o.number(text)
}

// parseInt reads decimal, 0x hexadecimal and, after a leading zero, octal, as
// SSSD does, which calls strtol.
func parseInt(text string) (int64, error) {
	digits, negative := strings.CutPrefix(text, "-")
	if !negative {
		digits = strings.TrimPrefix(text, "+")
	}
	base := 10
	if hex, isHex := strings.CutPrefix(strings.ToLower(digits), "0x"); isHex {
		digits, base = hex, 16
	} else if isOctal(text) {
		if strings.Trim(digits, "0123456789") == "" && strings.ContainsAny(digits, "89") {
			return 0, fmt.Errorf("%s begins with a zero, which means octal, and has the digit 8 or 9; write %s", quoted(text), strings.TrimLeft(digits, "0"))
		}
		base = 8
	}
	n, err := strconv.ParseUint(digits, base, 63)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, errTooLarge
	case err != nil:
		return 0, errNotInteger
	case negative:
		return -int64(n), nil
	}
	return int64(n), nil
}

// isOctal reports whether text has the leading zero that makes a number octal.
func isOctal(text string) bool {
	digits := strings.TrimLeft(text, "+-")
	return len(digits) > 1 && digits[0] == '0' && digits[1] != 'x' && digits[1] != 'X'
}

// clock is a duration in hours and minutes, and maybe days and seconds.
var clock = regexp.MustCompile(`^(?:(?:([0-9]+)-)?([0-9]+):([0-9]+):([0-9]+)|([0-9]+):([0-9]+))$`)

// parseSeconds reads seconds, or what libkrb5 calls a deltat: a sequence of
// numbers with d, h, m or s, between which there may be blanks, as 60m, 1h,
// 1d12h, 1d 12h; or hours:minutes, hours:minutes:seconds or
// days-hours:minutes:seconds.
func parseSeconds(text string) (int64, error) {
	if parts := clock.FindStringSubmatch(text); parts != nil {
		return sumOf(text, parts[1], parts[2]+parts[5], parts[3]+parts[6], parts[4])
	}
	n, err := parseInt(text)
	if err == nil && isOctal(text) {
		return 0, fmt.Errorf("%s begins with a zero, which could mean octal; write it without", quoted(text))
	}
	if err == nil || !errors.Is(err, errNotInteger) {
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
		if errors.Is(err, strconv.ErrRange) {
			return 0, errTooLarge
		} else if err != nil {
			return 0, notDuration(text)
		}
		// Below 2³¹ days and some: far from an overflow.
		total += int64(n) * unitSeconds(rest[i])
		units = units[strings.IndexByte(units, rest[i])+1:]
		rest = strings.TrimLeft(rest[i+1:], " \t")
	}
	return total, nil
}

// sumOf adds days, hours, minutes and seconds, of which some may be "".
func sumOf(text string, numbers ...string) (total int64, err error) {
	for i, number := range numbers {
		n, err := strconv.ParseUint(cmp.Or(number, "0"), 10, 31)
		if errors.Is(err, strconv.ErrRange) {
			return 0, errTooLarge
		} else if err != nil {
			return 0, notDuration(text)
		}
		total += int64(n) * unitSeconds("dhms"[i])
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
	return fmt.Errorf("%s is not a duration, expected seconds or a form like 60m, 1h, 1d12h", quoted(text))
}
