// Package log writes SSSD's debug log: hclog's Logger interface over SSSD's
// level bits, line format and destinations.
package log

import (
	"fmt"
	"math/bits"

	"github.com/hashicorp/go-hclog"
)

// Level is a set of SSSD's debug level bits.
type Level uint32

// The bits of debug_level, by what they stand for in sssd.conf(5).
const (
	Fatal         Level = 0x0010 // the process cannot go on
	Critical      Level = 0x0020 // something an administrator must see to
	Serious       Level = 0x0040 // an operation failed
	Minor         Level = 0x0080 // a failure that was coped with
	Config        Level = 0x0100 // configuration settings
	FuncData      Level = 0x0200 // data of a function
	TraceFunc     Level = 0x0400 // operations as they go
	TraceLibs     Level = 0x1000 // internal control
	TraceInternal Level = 0x2000 // internal variables
	TraceAll      Level = 0x4000 // everything else
)

// Default is the mask of debug_level = 2, which SSSD uses when nothing is set.
const Default = Fatal | Critical | Serious

// cumulative holds what each decimal debug_level stands for.
var cumulative = [...]Level{0x0010, 0x0030, 0x0070, 0x00f0, 0x01f0, 0x03f0, 0x07f0, 0x17f0, 0x37f0, 0x2f7f0, 0x3f7f0}

// Mask converts a debug_level as SSSD does: a number whose low four bits are
// zero is a mask already, anything else a level from 0 to 10.
func Mask(n int64) Level {
	switch {
	case n > 0 && n&0xf == 0:
		return Level(n)
	case n <= 0:
		return cumulative[0]
	case n >= int64(len(cumulative)):
		return cumulative[len(cumulative)-1]
	}
	return cumulative[n]
}

// Odd says as what a number counts that is neither a level nor a mask of
// SSSD's bits, and "" for one that is.
func Odd(n int64) string {
	all := cumulative[len(cumulative)-1]
	if n >= 0 && n < int64(len(cumulative)) || n > 0 && n&0xf == 0 && Level(n)&^all == 0 {
		return ""
	}
	return fmt.Sprintf("is neither a level from 0 to %d nor a mask of level bits such as 0x0070; it counts as %v", len(cumulative)-1, Mask(n)&all)
}

// String is the form of sssctl debug-level and of log lines: 0x and at least
// four hexadecimal digits.
func (l Level) String() string { return fmt.Sprintf("0x%04x", uint32(l)) }

// levelOf maps hclog's levels to one bit each.
func levelOf(level hclog.Level) Level {
	switch level {
	case hclog.Trace:
		return TraceInternal
	case hclog.Debug:
		return TraceFunc
	case hclog.Warn:
		return Serious
	case hclog.Error:
		return Critical
	}
	return Config
}

// hclogLevel is the most talkative hclog level that a mask lets through.
func (l Level) hclogLevel() hclog.Level {
	for _, level := range []hclog.Level{hclog.Trace, hclog.Debug, hclog.Info, hclog.Warn} {
		if l&levelOf(level) != 0 {
			return level
		}
	}
	return hclog.Error
}

// priority is the syslog priority of a bit: SSSD's single failure bits become
// crit to warning, the rest informational or debug.
func (l Level) priority() int {
	switch bits.Len32(uint32(l)) {
	case 5:
		return 2
	case 6:
		return 3
	case 7, 8:
		return 4
	case 9, 10:
		return 6
	}
	return 7
}
