// Sbom writes what Go programs are built of, as the linker noted it in them,
// as a CycloneDX 1.5 document: sbom NAME VERSION PROGRAM...
package main

import (
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

type component struct {
	Type    string `json:"type"`
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl,omitempty"`
}

type document struct {
	Format      string `json:"bomFormat"`
	SpecVersion string `json:"specVersion"`
	Version     int    `json:"version"`
	Metadata    struct {
		Component component `json:"component"`
	} `json:"metadata"`
	Components []component `json:"components"`
}

func main() {
	if err := run(os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "sbom: %v\n", err)
		os.Exit(1)
	}
}

func run(w io.Writer, args []string) error {
	if len(args) < 3 {
		return errors.New("usage: sbom NAME VERSION PROGRAM")
	}
	bom := document{Format: "CycloneDX", SpecVersion: "1.5", Version: 1}
	bom.Metadata.Component = component{Type: "application", Name: args[0], Version: args[1]}
	for _, program := range args[2:] {
		info, err := buildinfo.ReadFile(program)
		if err != nil {
			return fmt.Errorf("%s: %w", program, err)
		}
		std := strings.TrimPrefix(info.GoVersion, "go")
		bom.add(component{Type: "library", Name: "stdlib", Version: std, PURL: "pkg:golang/stdlib@" + std})
		for _, module := range info.Deps {
			if module.Replace != nil {
				module = module.Replace
			}
			bom.add(component{
				Type: "library", Name: module.Path, Version: module.Version,
				PURL: "pkg:golang/" + module.Path + "@" + module.Version,
			})
		}
	}
	slices.SortFunc(bom.Components, func(a, b component) int { return strings.Compare(a.PURL, b.PURL) })
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return out.Encode(bom)
}

// add adds a component that is not there yet.
func (d *document) add(c component) {
	if !slices.ContainsFunc(d.Components, func(old component) bool { return old.PURL == c.PURL }) {
		d.Components = append(d.Components, c)
	}
}
