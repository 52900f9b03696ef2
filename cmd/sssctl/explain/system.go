package explain

import (
	"fmt"
	"strings"

	"gosssd/confdb"
	"gosssd/sbus"
)

// System is what root is told of the services.
type System struct {
	Down     bool // no monitor runs
	Services []Service
	Pending  bool // the files say something else than what is in force
	Err      error
	Findings []confdb.Finding // that stop the monitor
	Stores   []Store
	Snippets string // the directory of snippets
	Fullest  []Full // users who have used much of a limit
}

// Service is the monitor, which is the first, or a responder.
type Service struct {
	sbus.ServiceStatus
	Reason string // the last grave line of its log, "" if there is none
	Log    string // that file
	Broken error  // why it does not answer, although it runs
}

// Store is where a responder keeps what it is given.
type Store struct {
	Service string
	Dir     string
	Full    bool
	Free    uint64 // bytes of the file system
}

// Full is a user who has used a part of a limit.
type Full struct {
	UID   uint32
	Name  string
	Part  float64
	Limit string // the option
	Value int64  // of the option
	// Spare is a cache that is of no use any more; "" if there is none.
	Spare string
}

func (y *System) service(name string) Service {
	for _, s := range y.Services {
		if s.Name == name {
			return s
		}
	}
	return Service{}
}

func (y *System) pids() (pids []int32) {
	for _, s := range y.Services {
		if s.PID > 0 {
			pids = append(pids, int32(s.PID))
		}
	}
	return pids
}

// socketWords are in the finding about services that their sockets start.
const socketWords = "started by socket activation"

func services(s *Scene) Finding {
	for _, f := range s.System.Findings {
		if !strings.Contains(f.Text, socketWords) {
			continue
		}
		_, instead, _ := strings.Cut(f.Text, "write '")
		line := strings.TrimSpace(strings.TrimSuffix(instead, "'"))
		return problem("%s, line %d, lists responders that their sockets start, and %s does not start with it", f.File, f.Line, s.Monitor).
			with(Step{Do: Write, User: root, File: f.File, Line: f.Line, Text: line}, s.into())
	}
	return well("no responder is listed that its socket starts")
}

// into puts the files into force.
func (s *Scene) into() Step {
	if s.System.Down {
		return s.start()
	}
	return run(root, "%s restart", s.Tool)
}

func configuration(s *Scene) Finding {
	y := s.System
	var texts []string
	for _, f := range y.Findings {
		if !strings.Contains(f.Text, socketWords) {
			texts = append(texts, f.String())
		}
	}
	switch {
	case y.Err != nil:
		return problem("sssd.conf cannot be read: %v", y.Err).with(see(root, "make it a file of root's that only root can read"), s.into())
	case len(texts) > 0:
		f := problem("the configuration is wrong and cannot be put into force")
		for _, text := range texts {
			f = f.with(see(root, "correct %s", text))
		}
		return f.with(s.into())
	case y.Down || len(y.Findings) > 0:
		return well("the files can be read")
	case y.Pending:
		return problem("the files are newer than the configuration in force").with(s.into())
	}
	return well("the files are what is in force")
}

func monitor(s *Scene) Finding {
	if s.System.Down {
		return problem("%s does not run", s.Monitor).with(s.start())
	}
	return well("%s runs", s.Monitor)
}

func responders(s *Scene) Finding {
	for _, r := range s.System.Services {
		switch {
		case r.State == sbus.StateBackOff:
			why := r.Reason
			if why == "" {
				why = r.LastExit
			}
			return problem("%s cannot be started and is tried again later: %s", r.Name, r.LastExit).
				with(see(root, "mend what %s says: %s", r.Log, why), run(root, "%s restart", s.Tool))
		case r.Broken != nil:
			return problem("%s runs, but %v", r.Name, r.Broken).
				with(run(root, "kill -KILL %d", r.PID))
		}
	}
	return well("all can be started")
}

// leastFree is how much a file system must have free, in bytes: below that the
// next large ticket may be refused.
const leastFree = 16 << 20

func storage(s *Scene) Finding {
	for _, store := range s.System.Stores {
		if store.Full || store.Free < leastFree {
			return problem("the disk below %s is full: %s", store.Dir, megabytes(store.Free)).
				with(see(root, "free at least 16 MiB on the file system of %s", store.Dir))
		}
	}
	return well("there is room for tickets")
}

func megabytes(n uint64) string { return fmt.Sprintf("%d MiB are free", n>>20) }

func limits(s *Scene) Finding {
	for _, u := range s.System.Fullest {
		if s.Of != nil && s.Of.UID != u.UID {
			continue
		}
		f := problem("%s has used %.0f %% of %s", u.Name, 100*u.Part, u.Limit)
		if u.Part >= 1 {
			f.Text += ", and gets no more"
		}
		if u.Spare != "" {
			return f.with(run(u.Name, "kdestroy -c %s", quote("KCM:"+u.Spare)))
		}
		return f.with(Step{Do: Write, User: root, File: s.System.Snippets + "/90-" + u.Limit + ".conf",
			Text: fmt.Sprintf("[kcm]\n%s = %d", u.Limit, 2*u.Value)}, run(root, "chmod 0600 %s/90-%s.conf", s.System.Snippets, u.Limit),
			run(root, "%s restart", s.Tool))
	}
	return well("no limit is nearly reached")
}

// quote makes a word of the shell.
func quote(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }
