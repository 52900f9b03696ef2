package confdb

import "strings"

// Nearest returns the candidate that name is most likely a typing error of,
// or "". One error in three characters at most is taken for one.
func Nearest(name string, candidates []string) string {
	best, least := "", len(name)/3+1
	for _, candidate := range candidates {
		if d := distance(strings.ToLower(name), strings.ToLower(candidate)); 0 < d && d < least {
			best, least = candidate, d
		}
	}
	return best
}

// nearestSection does the same for patterns of section names. The "*" of a
// pattern takes what name has in its place.
func nearestSection(name string, patterns []string) string {
	var candidates []string
	for _, pattern := range patterns {
		elements, given := strings.Split(pattern, "/"), strings.Split(name, "/")
		last := len(elements) - 1
		if strings.HasSuffix(elements[last], " *") && len(given) == len(elements)+1 { // a slash for the blank
			given = append(given[:last:last], given[last]+" "+given[last+1])
		}
		if len(elements) != len(given) {
			continue
		}
		for i := range elements {
			start, open := strings.CutSuffix(elements[i], "*")
			switch {
			case open && start == "":
				elements[i] = given[i]
			case open:
				_, rest, _ := strings.Cut(given[i], " ")
				elements[i] = start + rest
			}
		}
		candidates = append(candidates, strings.Join(elements, "/"))
	}
	return Nearest(name, candidates)
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbours that make b of a (optimal string alignment).
func distance(a, b string) int {
	var before []int // the row before the last
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			replaced := last[j]
			if a[i] != b[j] {
				replaced++
			}
			row[j+1] = min(replaced, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
