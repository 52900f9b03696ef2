package analyze

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// ParseJournal reads an entry of the journal as journalctl -o json --all prints
// it, one on each line.
func ParseJournal(entry []byte) (Line, error) {
	var fields struct {
		Time     string          `json:"__REALTIME_TIMESTAMP"` // microseconds since 1970
		Boot     string          `json:"_BOOT_ID"`
		PID      string          `json:"_PID"`
		Level    string          `json:"SSSD_DEBUG_LEVEL"`
		Function string          `json:"CODE_FUNC"`
		Message  json.RawMessage `json:"MESSAGE"`
	}
	if err := json.Unmarshal(entry, &fields); err != nil {
		return Line{}, fmt.Errorf("an entry of the journal cannot be read: %w", err)
	}
	l := Line{Program: "kcm", Function: fields.Function, Process: fields.Boot + " " + fields.PID}
	micros, err := strconv.ParseInt(fields.Time, 10, 64)
	if err != nil {
		return Line{}, fmt.Errorf("an entry of the journal has the time %q, expected microseconds", fields.Time)
	}
	l.Time = time.UnixMicro(micros)
	if fields.Level != "" && !l.setLevel(fields.Level) {
		return Line{}, fmt.Errorf("an entry of the journal has the level %q, expected hexadecimal digits", fields.Level)
	}
	l.setMessage(text(fields.Message))
	return l, nil
}

// text is a field's value: a string, or an array of bytes where it is not UTF-8
// or has bytes that cannot be printed.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var numbers []byte
	var list []uint16
	if json.Unmarshal(raw, &list) == nil {
		for _, n := range list {
			numbers = append(numbers, byte(n))
		}
	}
	return string(numbers)
}
