package output

import (
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"
)

// Table is rows of cells below a heading.
type Table struct {
	Heading []string
	Rows    [][]Cell
	Now     time.Time // against which times are relative

	// Optional are headings of columns that are left out, the first first, as
	// long as a line would have to be cut to fit a terminal.
	Optional []string
}

// Cell is a text or a time.
type Cell struct {
	text   string
	time   time.Time
	isTime bool
	colour string
}

// Colours of cells, as escape sequences of a terminal.
const (
	red   = "\x1b[31m"
	bold  = "\x1b[1m"
	plain = "\x1b[0m"
)

// Text is a cell with a text; none is shown as a dash.
func Text(text string) Cell {
	if text == "" {
		text = "-"
	}
	return Cell{text: text}
}

// At is a cell with a time in seconds since 1970; 0 is none.
func At(unix int64) Cell {
	if unix == 0 {
		return Text("")
	}
	return Cell{time: time.Unix(unix, 0), isTime: true}
}

// Alarming is a cell with a text that is red.
func Alarming(text string) Cell { return Cell{text: text, colour: red} }

// Until is as At, and red once the time is over.
func Until(unix int64, now time.Time) Cell {
	cell := At(unix)
	if cell.isTime && !cell.time.After(now) {
		cell.colour = red
	}
	return cell
}

// gap stands between columns, and least is the width below which none is cut.
const (
	gap   = 2
	least = 8
)

// format returns the lines of the table.
func (t Table) format(to Place, o *Options) string {
	var lines [][]Cell
	if !o.noLegend && len(t.Heading) > 0 {
		var heading []Cell
		for _, word := range t.Heading {
			heading = append(heading, Cell{text: word, colour: bold})
		}
		lines = append(lines, heading)
	}
	for _, row := range t.Rows {
		row = slices.Clone(row)
		for i, cell := range row {
			if cell.isTime {
				row[i].text = t.words(cell.time, to, o)
			}
		}
		lines = append(lines, row)
	}
	width := to.Width
	if o.full {
		width = 0
	}
	lines = t.leaveOut(lines, width)
	widths := fit(lines, width)
	var out strings.Builder
	for _, line := range lines {
		writeLine(&out, line, widths, to.Colours)
	}
	return out.String()
}

// words is a time in words: how far away it is on a terminal, the date elsewhere,
// where it may be read later, and both with --full.
func (t Table) words(at time.Time, to Place, o *Options) string {
	switch {
	case o.full:
		return at.Format(time.DateTime) + " (" + relative(at, t.Now) + ")"
	case to.Terminal:
		return relative(at, t.Now)
	}
	return at.Format(time.DateTime)
}

// leaveOut returns lines without optional columns, as far as a line is longer
// than total; 0 is without limit.
func (t Table) leaveOut(lines [][]Cell, total int) [][]Cell {
	at := slices.Clone(t.Heading)
	for _, heading := range t.Optional {
		if total == 0 || lineLength(wide(lines)) <= total {
			break
		}
		i := slices.Index(at, heading)
		at = slices.Delete(at, i, i+1)
		for n, line := range lines {
			lines[n] = slices.Delete(slices.Clone(line), i, i+1)
		}
	}
	return lines
}

// wide returns how wide each column of lines is.
func wide(lines [][]Cell) []int {
	var widths []int
	for _, line := range lines {
		for i, cell := range line {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], runewidth.StringWidth(cell.text))
		}
	}
	return widths
}

// lineLength returns how long the lines are that have columns of these widths.
func lineLength(widths []int) int {
	total := gap * (len(widths) - 1)
	for _, width := range widths {
		total += width
	}
	return total
}

// fit returns how wide each column is, so that a line is no longer than total,
// or as long as it must be if total is 0.
func fit(lines [][]Cell, total int) []int {
	widths := wide(lines)
	if total == 0 || len(widths) == 0 {
		return widths
	}
	for excess := lineLength(widths) - total; excess > 0; excess-- {
		widest := slices.Index(widths, slices.Max(widths))
		if widths[widest] <= least {
			break // a terminal so narrow breaks lines
		}
		widths[widest]--
	}
	return widths
}

func writeLine(out *strings.Builder, line []Cell, widths []int, colours bool) {
	for i, cell := range line {
		text := runewidth.Truncate(cell.text, widths[i], "…")
		pad := widths[i] - runewidth.StringWidth(text) + gap
		if colours && cell.colour != "" {
			text = cell.colour + text + plain
		}
		out.WriteString(text)
		if i < len(line)-1 {
			out.WriteString(strings.Repeat(" ", pad))
		}
	}
	out.WriteByte('\n')
}
