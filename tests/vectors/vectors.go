// Package vectors reads and runs the request and reply pairs of this folder
// against any KCM server. README.md describes the files.
package vectors

import (
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

//go:embed *.txt
var files embed.FS

// Case is one sequence of requests and their replies.
type Case struct {
	File   string
	Name   string
	Config map[string]string // options of [kcm] that the server must have
	steps  []step
	creds  map[string]credential
	peers  *peers
}

// peers is what is known of other servers in all cases.
type peers struct {
	lacks map[string]reply // by peer, blank, operation
}

// reply is what a server answers: a verdict with its code or items, and for
// other servers why that differs.
type reply struct {
	words []string
	why   string
}

// step is one line of a case that does something.
type step struct {
	line    int
	user    string           // "as": connect as this user, or go on as such
	fill    []string         // "fill": name, principal, credentials
	request []string         // ">": operation and items
	replies map[string]reply // "<": by peer, "" for this server
}

// All returns the cases of all files.
func All() ([]Case, error) {
	var all []Case
	known := &peers{lacks: map[string]reply{}}
	names, err := fs.Glob(files, "*.txt")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		cases, err := parse(name, string(text), known)
		if err != nil {
			return nil, err
		}
		all = append(all, cases...)
	}
	return all, nil
}

// parser holds what is being read.
type parser struct {
	file  string
	peers *peers
	cases []Case
	creds map[string]credential
}

func parse(file, text string, known *peers) ([]Case, error) {
	p := &parser{file: file, peers: known, creds: map[string]credential{}}
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if err := p.line(number, line); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, number, err)
		}
	}
	return p.cases, nil
}

func (p *parser) line(number int, line string) error {
	word, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	switch word {
	case "cred":
		name, fields, _ := strings.Cut(rest, " ")
		cred, err := parseCredential(name, fields)
		p.creds[name] = cred
		return err
	case "lacks":
		peer, rest, _ := strings.Cut(rest, " ")
		op, answer, _ := strings.Cut(rest, " ")
		p.peers.lacks[peer+" "+op] = parseReply(answer)
	case "case":
		p.cases = append(p.cases, Case{File: p.file, Name: rest, Config: map[string]string{}, creds: p.creds, peers: p.peers})
	default:
		if len(p.cases) == 0 {
			return fmt.Errorf("%q before the first case", word)
		}
		return p.cases[len(p.cases)-1].line(number, word, rest)
	}
	return nil
}

func (c *Case) line(number int, word, rest string) error {
	switch {
	case word == "config":
		key, value, _ := strings.Cut(rest, "=")
		c.Config[strings.TrimSpace(key)] = strings.TrimSpace(value)
	case word == "as":
		c.steps = append(c.steps, step{line: number, user: rest})
	case word == "fill":
		items := strings.Fields(rest)
		if len(items) != 3 {
			return fmt.Errorf("fill takes a name, a principal and credentials")
		}
		c.steps = append(c.steps, step{line: number, fill: items})
	case word == ">":
		c.steps = append(c.steps, step{line: number, request: strings.Fields(rest), replies: map[string]reply{}})
	case word[0] == '<':
		return c.reply(word[1:], rest)
	default:
		return fmt.Errorf("%q is not known", word)
	}
	return nil
}

func parseReply(text string) reply {
	text, why, _ := strings.Cut(text, " -- ")
	return reply{words: strings.Fields(text), why: strings.TrimSpace(why)}
}

func (c *Case) reply(peer, text string) error {
	if len(c.steps) == 0 || c.steps[len(c.steps)-1].request == nil {
		return fmt.Errorf("a reply without a request")
	}
	answer := parseReply(text)
	if peer != "" && answer.why == "" {
		return fmt.Errorf("the reply of %s has no reason", peer)
	}
	c.steps[len(c.steps)-1].replies[peer] = answer
	return nil
}

// onlyRead are operations without which a case can go on.
var onlyRead = []string{"NOOP", "GET_NAME", "RESOLVE", "RETRIEVE", "GET_CRED_LIST"}

// expected returns the reply to a request that a peer gives, and whether the
// case ends for it there.
func (c *Case) expected(s step, peer string) (r reply, ends bool) {
	if theirs, differs := s.replies[peer]; differs {
		return theirs, theirs.words[0] == "stop"
	}
	if theirs, lacks := c.peers.lacks[peer+" "+s.request[0]]; lacks {
		return theirs, !slices.Contains(onlyRead, s.request[0])
	}
	return s.replies[""], false
}

// Difference is a place where another server answers otherwise. Case is empty
// for an operation that the server lacks in all cases.
type Difference struct{ Case, Request, Ours, Theirs, Why string }

// Differences returns where a peer is known to answer otherwise, and why.
func Differences(cases []Case, peer string) []Difference {
	var found []Difference
	lacking := cases[0].peers.lacks
	for _, key := range slices.Sorted(maps.Keys(lacking)) {
		if name, op, _ := strings.Cut(key, " "); name == peer {
			found = append(found, Difference{Request: op, Theirs: strings.Join(lacking[key].words, " "), Why: lacking[key].why})
		}
	}
	for _, c := range cases {
		for _, s := range c.steps {
			if s.request == nil {
				continue
			}
			theirs, ends := c.expected(s, peer)
			if _, explicit := s.replies[peer]; explicit {
				found = append(found, Difference{
					c.Name, strings.Join(s.request, " "), strings.Join(s.replies[""].words, " "), strings.Join(theirs.words, " "), theirs.why,
				})
			}
			if ends {
				break
			}
		}
	}
	return found
}
