package confdb

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// ErrDamaged is wrapped by Open's error when the file is no configuration
// database, is damaged, or is of a newer format than this build reads. The
// next start of sssd replaces such a file.
var ErrDamaged = errors.New("not a usable configuration database")

// maxDatabase bounds the file that is read, in bytes.
const maxDatabase = 256 << 20

// A database is three lines of text and a body. The checksum is that of the
// two other lines and the body, so that no part of it can go bad unnoticed.
//
//	gosssd confdb 1
//	generation 12
//	sha256 9f86d08…
//	{"hash": …, "time": …, "sections": …}
const (
	anyMagic      = "gosssd confdb "
	magic         = anyMagic + "1\n"
	generationTag = "generation "
	checksumTag   = "sha256 "
)

// body is the part of a database in JSON.
type body struct {
	Hash     string    `json:"hash"`
	Time     time.Time `json:"time"`
	Sections settings  `json:"sections"`
}

// Open reads the database at path, checks every section that schema declares
// against it, and keeps the others as they are. It never creates nor changes
// the file. The error wraps fs.ErrNotExist if there is no database, and
// ErrDamaged if there is none that can be read.
func Open(path string, schema Schema) (*Snapshot, error) {
	s, err := readDatabase(path)
	if err != nil {
		return nil, err
	}
	s.schema = schema
	for _, in := range s.sections.sorted() {
		section := schema.Match(in.Name)
		if section == nil {
			continue
		}
		for _, set := range in.sorted() {
			option := section.Option(set.Key)
			if option == nil {
				continue
			}
			if err := option.Check(set.Text); err != nil {
				return nil, fmt.Errorf("%s: %s: [%s] %s: %w", path, set.origin(), in.Name, set.Key, err)
			}
		}
	}
	return s, nil
}

func readDatabase(path string) (*Snapshot, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxDatabase))
	if err != nil {
		return nil, fmt.Errorf("configuration database: %w", err)
	}
	s, err := decodeDatabase(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// encodeDatabase returns the content of the file for s.
func encodeDatabase(s *Snapshot) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(body{Hash: s.Hash, Time: s.Time, Sections: s.sections}); err != nil {
		return nil, err
	}
	generation := generationTag + strconv.FormatUint(s.Generation, 10) + "\n"
	sum := checksum(generation, text.Bytes())
	return append([]byte(magic+generation+checksumTag+sum+"\n"), text.Bytes()...), nil
}

// decodeDatabase is the opposite of encodeDatabase. The snapshot has no schema.
func decodeDatabase(data []byte) (*Snapshot, error) {
	rest, found := bytes.CutPrefix(data, []byte(magic))
	if !found {
		return nil, fmt.Errorf("%w: foreign, or of a newer format", ErrDamaged)
	}
	generation, number, rest, ok := cutGeneration(rest)
	line, rest, _ := bytes.Cut(rest, []byte("\n"))
	if !ok || string(line) != checksumTag+checksum(generation, rest) {
		return nil, fmt.Errorf("%w: its checksum is wrong", ErrDamaged)
	}
	var content body
	if err := json.Unmarshal(rest, &content); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	for name, in := range content.Sections {
		if in == nil || name != strings.ToLower(in.Name) {
			return nil, fmt.Errorf("%w: section [%s] is malformed", ErrDamaged, name)
		}
	}
	return &Snapshot{Generation: number, Hash: content.Hash, Time: content.Time, sections: content.Sections}, nil
}

// cutGeneration takes the line with the generation from the front of data.
func cutGeneration(data []byte) (line string, number uint64, rest []byte, ok bool) {
	first, rest, _ := bytes.Cut(data, []byte("\n"))
	digits, found := strings.CutPrefix(string(first), generationTag)
	number, err := strconv.ParseUint(digits, 10, 63)
	return string(first) + "\n", number, rest, found && err == nil
}

func checksum(generation string, text []byte) string {
	sum := sha256.New()
	_, _ = io.WriteString(sum, magic+generation)
	sum.Write(text)
	return hex.EncodeToString(sum.Sum(nil))
}
