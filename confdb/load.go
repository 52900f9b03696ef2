package confdb

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxFile bounds one configuration file, in bytes.
const maxFile = 16 << 20

// Sources says where the configuration is read from.
type Sources struct {
	File       string // the main file, sssd.conf
	SnippetDir string // the directory of snippets, conf.d
	OwnerUID   uint32 // who may own the files besides root
}

// Config is what the files say, merged and checked.
type Config struct {
	Findings []Finding // all that was found, file by file
	Snippets []string  // the snippets that were read, in order
	Missing  []string  // of File and SnippetDir, those that do not exist

	main   string // the main file, whose findings come first
	schema Schema
	values settings
}

// Load reads the main file and the snippets over it, and checks everything
// against schema. What is wrong with the configuration is told by the
// findings, all of it; the error is for a directory that cannot be listed.
// A main file that does not exist is empty.
//
// Snippets are the files *.conf of SnippetDir, but not of directories in it,
// that do not begin with a dot, in the byte order of their names. The last
// value of an option counts, and an empty one unsets it.
func Load(sources Sources, schema Schema) (*Config, error) {
	c := &Config{main: sources.File, schema: schema, values: settings{}}
	switch file, err := readFile(sources.File, sources.OwnerUID); {
	case errors.Is(err, fs.ErrNotExist):
		c.Missing = append(c.Missing, sources.File)
	case err != nil:
		c.refuse(sources.File, err)
	default:
		c.merge(sources.File, file)
	}
	snippets, err := os.ReadDir(sources.SnippetDir) // in byte order
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.Missing = append(c.Missing, sources.SnippetDir)
	case err != nil:
		return nil, fmt.Errorf("snippets: %w", err)
	}
	for _, snippet := range snippets {
		path := filepath.Join(sources.SnippetDir, snippet.Name())
		if !isSnippet(snippet.Name()) {
			c.skip(path, snippet.IsDir())
			continue
		}
		file, err := readFile(path, sources.OwnerUID)
		if err != nil {
			c.refuse(path, err)
			continue
		}
		c.merge(path, file)
		c.Snippets = append(c.Snippets, path)
	}
	c.values.dropEmpty()
	c.validate()
	return c, nil
}

// Err returns what must stop sssd from using the configuration, one finding
// to a line, or nil.
func (c *Config) Err() error {
	var all []error
	for _, finding := range c.Findings {
		if finding.Kind.Stops() {
			all = append(all, errors.New(finding.String()))
		}
	}
	return errors.Join(all...)
}

// Snapshot returns the configuration as generation 0, as if it had been
// committed; it means nothing while Err is not nil.
func (c *Config) Snapshot() *Snapshot {
	return &Snapshot{Hash: c.values.hash(), schema: c.schema, sections: c.values}
}

// hash identifies what is set, whatever the files it is set in are called
// and however they are laid out.
func (s settings) hash() string {
	texts := map[string]map[string]string{}
	for name, in := range s {
		texts[name] = map[string]string{}
		for key, option := range in.Options {
			texts[name][key] = option.Text
		}
	}
	canonical, err := json.Marshal(texts) // keys sorted
	if err != nil {
		panic("confdb: maps of strings always encode: " + err.Error())
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:])
}

// isSnippet is the POSIX expression ^[^\.].*\.conf$ of SSSD, in which the
// backslash within brackets stands for itself.
func isSnippet(name string) bool {
	return len(name) > len(".conf") && strings.HasSuffix(name, ".conf") && name[0] != '.' && name[0] != '\\'
}

// merge puts one file over those before it.
func (c *Config) merge(path string, file *File) {
	for _, section := range file.Sections {
		for _, entry := range section.Entries {
			for _, line := range entry.Earlier {
				c.Findings = append(c.Findings, Finding{File: path, Line: line, Kind: Superseded,
					Text: fmt.Sprintf("[%s] %s is set again on line %d, which counts", section.Name, entry.Key, entry.Line)})
			}
		}
	}
	c.values.merge(path, file)
}

// skip notes that a file in the snippets' directory is no snippet.
func (c *Config) skip(path string, isDir bool) {
	text := "is not read: the name of a snippet ends in .conf and does not begin with a dot"
	if isDir {
		text = "is a directory, whose files are not read"
	}
	c.Findings = append(c.Findings, Finding{File: path, Kind: Unread, Text: text})
}

// refuse notes why a file cannot be used.
func (c *Config) refuse(path string, err error) {
	var faults SyntaxErrors
	if errors.As(err, &faults) {
		for _, fault := range faults {
			c.Findings = append(c.Findings, Finding{File: path, Line: fault.Line, Kind: BadFile, Text: fault.Error()})
		}
		return
	}
	// The path stands in front of every finding: not twice.
	var at *fs.PathError
	if errors.As(err, &at) {
		err = fmt.Errorf("%s: %w", at.Op, at.Err)
	}
	c.Findings = append(c.Findings, Finding{File: path, Kind: BadFile, Text: err.Error()})
}

// readFile reads a configuration file that is safe to trust. It looks at the
// descriptor it reads from, so that nothing can be exchanged in between.
func readFile(path string, owner uint32) (*File, error) {
	// O_NONBLOCK: opening a FIFO must not wait for its writer.
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var stat unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil {
		return nil, err
	}
	if err := checkAccess(stat, owner); err != nil {
		return nil, err
	}
	if stat.Size > maxFile {
		return nil, fmt.Errorf("is larger than %d MiB", maxFile>>20)
	}
	return Parse(io.LimitReader(file, maxFile))
}

// checkAccess demands a regular file of root or owner that others have no
// access to.
func checkAccess(stat unix.Stat_t, owner uint32) error {
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		return errors.New("is not a regular file but a directory")
	default:
		return errors.New("is not a regular file but a device, FIFO or socket")
	}
	if (stat.Uid == 0 || stat.Uid == owner) && stat.Mode&unix.S_IRWXO == 0 {
		return nil
	}
	expected := "owner root"
	if owner != 0 {
		expected = fmt.Sprintf("owner root or uid %d", owner)
	}
	return fmt.Errorf("did not pass access check: owner is uid %d, mode %04o; expected %s and no access for others, such as 0600",
		stat.Uid, stat.Mode&0o7777, expected)
}
