package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The measures of the plot, in pixels.
const (
	panelWidth, panelHeight = 420, 230
	plotLeft, plotTop       = 60, 60
	gapX, gapY              = 40, 70
)

// colours of the servers, readable for the colour-blind (Okabe and Ito).
var colours = []string{"#0072b2", "#56b4e9", "#009e73", "#d55e00", "#e69f00", "#999999"}

// panel is one group of bars.
type panel struct {
	title  string
	labels []string
	rows   []string // of the table, one for each label
}

var panels = []panel{
	{"reads per second", clientLabels, clientRows("read")},
	{"durable stores per second", clientLabels, clientRows("store")},
	{"kinit and kdestroy per second", clientLabels, clientRows("login")},
	{"µs of a store into a cache of 10 and 2000, and of reading 2000",
		[]string{"10th store", "2000th store", "read 2000"},
		[]string{"store as number 10, µs", "store as number 2000, µs", "read all of 2000, µs"}},
}

var clientLabels = []string{"1 client", "4 clients", "16 clients"}

func clientRows(scenario string) []string {
	var rows []string
	for _, clients := range clientLabels {
		rows = append(rows, scenario+", "+clients+", per s")
	}
	return rows
}

// plot draws the main rows of the table as bars on a logarithmic scale.
func (b *bench) plot() string {
	width := plotLeft + 2*panelWidth + gapX + 20
	height := plotTop + 2*panelHeight + gapY + 60
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n", width, height)
	fmt.Fprintf(&out, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	for i, s := range b.servers {
		x := plotLeft + i*135
		fmt.Fprintf(&out, `<rect x="%d" y="12" width="12" height="12" fill="%s"/><text x="%d" y="22">%s</text>`+"\n", x, colours[i%len(colours)], x+17, html.EscapeString(s.name))
	}
	for i, p := range panels {
		x := plotLeft + i%2*(panelWidth+gapX)
		y := plotTop + i/2*(panelHeight+gapY)
		b.panel(&out, p, x, y)
	}
	out.WriteString("</svg>\n")
	return out.String()
}

func (b *bench) panel(out *strings.Builder, p panel, left, top int) {
	low, high := b.decades(p)
	bottom := top + panelHeight
	at := func(v float64) float64 {
		return float64(bottom) - (math.Log10(v)-float64(low))/float64(high-low)*panelHeight
	}
	fmt.Fprintf(out, `<text x="%d" y="%d" font-weight="bold">%s</text>`+"\n", left, top-10, html.EscapeString(p.title))
	for decade := low; decade <= high; decade++ {
		y := at(math.Pow10(decade))
		fmt.Fprintf(out, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#dddddd"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			left, left+panelWidth, y, y, left-4, y+4, thousands(decade))
	}
	group := float64(panelWidth) / float64(len(p.rows))
	bar := group * 0.85 / float64(max(len(b.servers), 1))
	for g, name := range p.rows {
		start := float64(left) + float64(g)*group
		fmt.Fprintf(out, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", start+group/2, bottom+16, p.labels[g])
		for i, s := range b.servers {
			v, measured := b.value(name, s.name)
			if !measured || v <= 0 {
				continue
			}
			fmt.Fprintf(out, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"><title>%s: %s</title></rect>`+"\n",
				start+group*0.075+float64(i)*bar, at(v), bar-1, float64(bottom)-at(v), colours[i%len(colours)], html.EscapeString(s.name), format(v))
		}
	}
}

// decades are the powers of ten that enclose all values of a panel.
func (b *bench) decades(p panel) (low, high int) {
	smallest, largest := math.Inf(1), math.Inf(-1)
	for _, name := range p.rows {
		for _, s := range b.servers {
			if v, measured := b.value(name, s.name); measured && v > 0 {
				smallest, largest = min(smallest, v), max(largest, v)
			}
		}
	}
	if largest < smallest {
		return 0, 1
	}
	low = int(math.Floor(math.Log10(smallest * 0.9)))
	return low, max(low+1, int(math.Ceil(math.Log10(largest))))
}

func thousands(decade int) string {
	switch {
	case decade >= 6:
		return fmt.Sprintf("%dM", int(math.Pow10(decade-6)))
	case decade >= 3:
		return fmt.Sprintf("%dk", int(math.Pow10(decade-3)))
	}
	return fmt.Sprint(math.Pow10(decade))
}
