package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"gosssd/cmd/responders"
	"gosssd/confdb"
	"gosssd/layout"
	"gosssd/linux"
	"gosssd/responder"
	"gosssd/responder/log"
)

// levelSnippet is the snippet of sssd.conf in which debug levels outlive a
// restart. Its name makes it count more than most others.
func levelSnippet() string { return "90-" + layout.Current().Tool + "-debug-level.conf" }

func levelHeader() string {
	return fmt.Sprintf(`# Written by "%s debug-level --persist" for the next start of %s.
# To go back to what sssd.conf says, remove this file, or a section of it.
`, layout.Current().Tool, layout.Current().Monitor)
}

// persistLevel writes the level of services to the snippet. problem is why the
// level will not be in force after the next start all the same.
func (t *tool) persistLevel(c *cobra.Command, names []string, mask log.Level) (problem, err error) {
	dir := t.root.Path(responder.SnippetDir)
	path := filepath.Join(dir, levelSnippet())
	sections := sectionsOf(names)
	if err := updateLevels(dir, path, sections, mask); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	fmt.Fprintf(c.OutOrStdout(), "Written to %s for the next start of %s.\n", path, layout.Current().Monitor)
	config, err := responder.LoadConfig(t.sources(), t.root, responders.List())
	if err == nil {
		err = config.Err()
	}
	if err != nil {
		return fmt.Errorf("%s cannot start with this configuration:\n%w", layout.Current().Monitor, err), nil
	}
	return overridden(config.Snapshot(), sections, mask), nil
}

// overridden reports the settings of later snippets that win.
func overridden(conf *confdb.Snapshot, sections []string, mask log.Level) error {
	var problems []error
	for _, section := range sections {
		for _, row := range conf.Show(section) {
			if row.Key == "debug_level" && log.Mask(conf.Section(section).Int("debug_level")) != mask {
				problems = append(problems, fmt.Errorf("%s sets [%s] debug_level = %s, which counts more", row.Origin, section, row.Value))
			}
		}
	}
	return errors.Join(problems...)
}

// sectionsOf are the services' own sections in sssd.conf.
func sectionsOf(names []string) []string {
	var sections []string
	for _, name := range names {
		if name == layout.Current().Monitor {
			sections = append(sections, responder.MonitorSection)
		}
		for _, d := range responders.List() {
			if d.Name == name {
				sections = append(sections, d.Section())
			}
		}
	}
	return sections
}

// updateLevels sets the level of some sections of the snippet and leaves the
// rest of it alone. Of several callers one does so at a time.
func updateLevels(dir, path string, sections []string, mask log.Level) error {
	if err := linux.MakeDirs(dir, 0o711); err != nil {
		return err
	}
	lock, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer lock.Close() // and unlocks it
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	present, err := readSnippet(path)
	if err != nil {
		return err
	}
	for _, section := range sections {
		setOption(present, section, "debug_level", mask.String())
	}
	return linux.Replace(path, 0o600, func(file *os.File) error {
		_, err := file.WriteString(snippetText(present))
		return err
	})
}

func readSnippet(path string) (*confdb.File, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &confdb.File{}, nil
	} else if err != nil {
		return nil, err
	}
	file, err := confdb.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("it cannot be changed, remove it: %w", err)
	}
	return file, nil
}

func setOption(file *confdb.File, section, key, value string) {
	i := slices.IndexFunc(file.Sections, func(s *confdb.FileSection) bool { return strings.EqualFold(s.Name, section) })
	if i < 0 {
		i = len(file.Sections)
		file.Sections = append(file.Sections, &confdb.FileSection{Name: section})
	}
	found := file.Sections[i]
	for _, entry := range found.Entries {
		if strings.EqualFold(entry.Key, key) {
			entry.Value = value
			return
		}
	}
	found.Entries = append(found.Entries, &confdb.Entry{Key: key, Value: value})
}

func snippetText(file *confdb.File) string {
	var text strings.Builder
	text.WriteString(levelHeader())
	for _, section := range file.Sections {
		fmt.Fprintf(&text, "[%s]\n", section.Name)
		for _, entry := range section.Entries {
			fmt.Fprintf(&text, "%s = %s\n", entry.Key, entry.Value)
		}
	}
	return text.String()
}
