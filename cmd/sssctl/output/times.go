package output

import (
	"fmt"
	"time"
)

// relative says how far a time is from now, in its two largest units:
// "in 3h 12min", "2min 5s ago".
func relative(t, now time.Time) string {
	// The clock's seconds count, so that a time printed twice in a second is the same.
	d := time.Duration(t.Unix()-now.Unix()) * time.Second
	switch {
	case d > 0:
		return "in " + length(d)
	case d < 0:
		return length(-d) + " ago"
	}
	return "now"
}

func length(d time.Duration) string {
	const day = 24 * time.Hour
	for _, unit := range []struct {
		large, small         time.Duration
		largeName, smallName string
	}{{day, time.Hour, "d", "h"}, {time.Hour, time.Minute, "h", "min"}, {time.Minute, time.Second, "min", "s"}} {
		if d < unit.large {
			continue
		}
		text := fmt.Sprintf("%d%s", d/unit.large, unit.largeName)
		if rest := d % unit.large / unit.small; rest > 0 {
			text += fmt.Sprintf(" %d%s", rest, unit.smallName)
		}
		return text
	}
	return fmt.Sprintf("%ds", d/time.Second)
}

// UTC is a time for JSON, by seconds since 1970; nil, JSON's null, is none.
func UTC(unix int64) *time.Time {
	if unix == 0 {
		return nil
	}
	t := time.Unix(unix, 0).UTC()
	return &t
}
