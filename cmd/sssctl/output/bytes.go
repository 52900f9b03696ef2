package output

import "strconv"

// Bytes is a number of bytes for people, in at most nine columns: "1.5 KiB".
func Bytes(n uint64) string {
	value, unit := float64(n), 0
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	for value >= 1024 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	return strconv.FormatFloat(value, 'f', min(unit, 1), 64) + " " + units[unit]
}
