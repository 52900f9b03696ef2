package confdb

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Adopt returns what is in force in a process that runs with s and takes over
// next without a restart: the live options as they are in next, the others as
// they are in s. waiting names the options that differ and need the restart;
// while there are any, the generation stays that of s. What no section of the
// schema declares is as in next.
func (s *Snapshot) Adopt(next *Snapshot) (inForce *Snapshot, waiting []string) {
	inForce = &Snapshot{Generation: next.Generation, Time: next.Time, schema: s.schema, sections: settings{}}
	maps.Copy(inForce.sections, next.sections)
	for _, name := range unionOfKeys(s.sections, next.sections) {
		declared := s.schema.Match(name)
		if declared == nil {
			continue
		}
		adopted, kept := declared.adopt(s.sections[name], next.sections[name])
		for _, key := range kept {
			waiting = append(waiting, fmt.Sprintf("[%s] %s", adopted.Name, key))
		}
		if next.sections[name] != nil || len(adopted.Options) > 0 {
			inForce.sections[name] = adopted
		}
	}
	if len(waiting) > 0 {
		inForce.Generation, inForce.Time = s.Generation, s.Time
	}
	inForce.Hash = inForce.sections.hash()
	return inForce, waiting
}

// adopt returns a section with the live options of next and the others of old,
// either of which may be nil, and the options that were kept from old.
func (s *Section) adopt(old, next *sectionSettings) (adopted *sectionSettings, kept []string) {
	if old == nil {
		old = &sectionSettings{Name: next.Name}
	}
	if next == nil {
		next = &sectionSettings{Name: old.Name}
	}
	copied := *next
	adopted = &copied
	adopted.Options = map[string]setting{}
	maps.Copy(adopted.Options, next.Options)
	for i := range s.Options {
		option := &s.Options[i]
		key := strings.ToLower(option.Key)
		was, will := old.Options[key], next.Options[key]
		if option.Live || option.inForce(was.Text) == option.inForce(will.Text) {
			continue
		}
		kept = append(kept, option.Key)
		if was.Text == "" {
			delete(adopted.Options, key)
		} else {
			adopted.Options[key] = was
		}
	}
	return adopted, kept
}

// unionOfKeys returns the names of the sections in a or b, sorted.
func unionOfKeys(a, b settings) []string {
	names := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(names)
	return slices.Compact(names)
}
