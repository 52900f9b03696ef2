package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gosssd/cmd/sssctl/analyze"
	"gosssd/cmd/sssctl/output"
	"gosssd/layout"
)

func (t *tool) analyzeCommand() *cobra.Command {
	var cid uint64
	var pid uint32
	var user, since string
	var journal bool
	var printing *output.Options
	c := &cobra.Command{
		Use:   "analyze",
		Short: "Show what a client of sssd_kcm did, request by request, from its log",
		Long: "Show what clients of sssd_kcm did, request by request, from its log files, or with --journal from the journal.\n" +
			"Without --cid, --pid and --user the clients that the log knows are listed. Numbers of connections begin anew\n" +
			"with each process of sssd_kcm, which the first column numbers.",
		Args: arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			if journal && t.root.Within() {
				return &usageError{c, "choose one of --journal and --root: the journal is that of the machine"}
			}
			from, err := parseSince(since, time.Now())
			if err != nil {
				return &usageError{c, err.Error()}
			}
			filter := analyze.Filter{Since: from}
			if c.Flags().Changed("cid") {
				filter.CID = &cid
			}
			if c.Flags().Changed("pid") {
				filter.PID = &pid
			}
			if c.Flags().Changed("user") {
				uid, err := uidOf(user)
				if err != nil {
					return err
				}
				filter.UID = &uid
			}
			return t.show(c, printing, func() (output.Listing, error) { return t.analyze(filter, journal) })
		},
	}
	printing = output.Add(c)
	c.Flags().Uint64Var(&cid, "cid", 0, "show what the connection `N` did, the number after CID# in the log")
	c.Flags().Uint32Var(&pid, "pid", 0, "show what the client's process `PID` did")
	c.Flags().StringVar(&user, "user", "", "show what the clients of `USER` did, by name or number")
	c.Flags().StringVar(&since, "since", "", "look at what was logged since `TIME`: 90m ago, or as 2026-03-01 09:30, or 09:30 today")
	c.Flags().BoolVar(&journal, "journal", false, "read the journal in place of the log files")
	return c
}

// analyze reads the logs, and describes clients or what they did.
func (t *tool) analyze(filter analyze.Filter, journal bool) (output.Listing, error) {
	h := analyze.New(filter)
	var notes []string
	var err error
	if journal {
		err = readJournal(h, filter.Since)
	} else {
		notes, err = t.readLogs(h, filter.Since)
	}
	if err != nil {
		return output.Listing{}, err
	}
	notes = append(notes, analyzeNotes(h, filter)...)
	answer := analyzed{Clients: []shownClient{}, Requests: []shownRequest{}, LeftOut: []shownLeftOut{}, Notes: append([]string{}, notes...)}
	for _, c := range h.Chosen() {
		answer.Clients = append(answer.Clients, shownClient{c.Process, c.CID, c.UID, c.PID, c.Program, shownTime(c.First), shownTime(c.Last), c.Requests, c.Unserved})
	}
	for _, r := range h.Requests {
		answer.Requests = append(answer.Requests, showRequest(r))
	}
	for _, l := range h.LeftOut {
		answer.LeftOut = append(answer.LeftOut, shownLeftOut{shownTime(l.Time), l.Lines, l.Window.Seconds(), l.UID, l.Text, l.Op, l.Code, l.Reason})
	}
	listing := output.Listing{Table: clientTable(h), Above: above(notes), JSON: answer}
	if filter.Any() {
		listing.Table = requestTable(h)
	}
	return listing, nil
}

// above is notes as lines before a table.
func above(notes []string) string {
	if len(notes) == 0 {
		return ""
	}
	return strings.Join(notes, "\n") + "\n\n"
}

// analyzed is what analyze --json prints.
type analyzed struct {
	Clients  []shownClient  `json:"clients"`
	Requests []shownRequest `json:"requests"`
	LeftOut  []shownLeftOut `json:"left_out"`
	Notes    []string       `json:"notes"`
}

type shownClient struct {
	Process  int        `json:"process"`
	CID      uint64     `json:"cid"`
	UID      uint32     `json:"uid"`
	PID      uint32     `json:"pid"`
	Program  string     `json:"program"`
	First    *time.Time `json:"first"`
	Last     *time.Time `json:"last"`
	Requests int        `json:"requests"`
	Unserved int        `json:"unserved"`
}

type shownRequest struct {
	Process   int               `json:"process"`
	CID       uint64            `json:"cid"`
	Time      *time.Time        `json:"time"`
	Op        string            `json:"op"`
	Event     analyze.Event     `json:"event"`
	Cache     string            `json:"cache"`
	Principal string            `json:"principal"`
	Code      string            `json:"code"`
	Reason    string            `json:"reason"`
	Took      *float64          `json:"took"` // seconds
	More      map[string]string `json:"more"`
}

type shownLeftOut struct {
	Time   *time.Time `json:"time"`
	Lines  int        `json:"lines"`
	Window float64    `json:"window"` // seconds
	UID    string     `json:"uid"`
	Text   string     `json:"text"`
	Op     string     `json:"op"`
	Code   string     `json:"code"`
	Reason string     `json:"reason"`
}

func showRequest(r *analyze.Request) shownRequest {
	shown := shownRequest{Process: r.Client.Process, CID: r.Client.CID, Time: shownTime(r.Time), Op: r.Op, Event: r.Event, Cache: r.Cache,
		Principal: r.Principal, Code: r.Code, Reason: r.Reason, More: map[string]string{}}
	if r.Took != nil {
		seconds := r.Took.Seconds()
		shown.Took = &seconds
	}
	for _, pair := range r.More {
		shown.More[pair.Key] = pair.Value
	}
	return shown
}

// shownTime is a time for JSON; lines may have none.
func shownTime(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	at = at.UTC()
	return &at
}

// clock is a time in a table, to the fraction of a second that the log has.
func clock(at time.Time) output.Cell {
	if at.IsZero() {
		return output.Text("")
	}
	return output.Text(at.Format("2006-01-02 15:04:05.999999"))
}

// analyzeNotes say what the log cannot tell, and how it could.
func analyzeNotes(h *analyze.History, filter analyze.Filter) (notes []string) {
	level := "'" + layout.Current().Tool + " debug-level --kcm "
	switch {
	case len(h.Chosen()) == 0 && filter.Any():
		notes = append(notes, "No line is about such a client. At the default level only refusals and failures are logged; requests are from debug_level 6 on ("+level+"6').")
	case !h.OperationsLogged():
		notes = append(notes, "Not all requests that were served are in the log: they are from debug_level 6 on ("+level+"6').")
	}
	if filter.Any() && len(h.Chosen()) > 0 && !h.DurationsLogged() {
		notes = append(notes, "Not all lines tell how long a request took: they do from debug_level 8 on ("+level+"8').")
	}
	if processes := processesOf(h); filter.CID != nil && processes > 1 {
		notes = append(notes, fmt.Sprintf("%d processes of sssd_kcm had a connection %d; --since leaves out earlier ones.", processes, *filter.CID))
	}
	for _, l := range h.LeftOut {
		what := strings.Join(slices.DeleteFunc([]string{l.Text, l.Op, l.Code, l.Reason}, func(s string) bool { return s == "" }), ", ")
		notes = append(notes, fmt.Sprintf("%d more lines of user %s in the %v before %s were counted, not written, as: %s.", l.Lines, orDash(l.UID), l.Window, l.Time.Format(time.DateTime), what))
	}
	return notes
}

// processesOf counts the processes that served the chosen clients.
func processesOf(h *analyze.History) int {
	seen := map[int]struct{}{}
	for _, c := range h.Chosen() {
		seen[c.Process] = struct{}{}
	}
	return len(seen)
}

func clientTable(h *analyze.History) output.Table {
	table := output.Table{Now: time.Now(), Heading: []string{"PROCESS", "CID", "USER", "PID", "PROGRAM", "FIRST", "LAST", "REQUESTS", "UNSERVED"},
		Optional: []string{"FIRST", "PROCESS"}}
	for _, c := range h.Chosen() {
		table.Rows = append(table.Rows, []output.Cell{output.Text(strconv.Itoa(c.Process)), output.Text(strconv.FormatUint(c.CID, 10)),
			output.Text(owner(c.UID, userName(c.UID))), output.Text(strconv.FormatUint(uint64(c.PID), 10)), output.Text(c.Program), clock(c.First), clock(c.Last),
			output.Text(strconv.Itoa(c.Requests)), output.Text(strconv.Itoa(c.Unserved))})
	}
	return table
}

func requestTable(h *analyze.History) output.Table {
	table := output.Table{Now: time.Now(), Heading: []string{"PROCESS", "CID", "PROGRAM", "TIME", "REQUEST", "CACHE", "PRINCIPAL", "RESULT", "REASON", "TOOK", "MORE"},
		Optional: []string{"MORE", "PROCESS", "PRINCIPAL", "PROGRAM", "REASON", "CACHE"}}
	for _, r := range h.Requests {
		result := output.Text(string(r.Event))
		switch r.Event {
		case analyze.Answered:
			result = output.Text(r.Code)
		case analyze.Refused, analyze.Failed:
			result = output.Alarming(strings.TrimSpace(string(r.Event) + " " + r.Code))
		}
		took := ""
		if r.Took != nil {
			took = r.Took.Round(time.Microsecond).String()
		}
		var more []string
		for _, pair := range r.More {
			more = append(more, pair.Key+"="+pair.Value)
		}
		table.Rows = append(table.Rows, []output.Cell{output.Text(strconv.Itoa(r.Client.Process)), output.Text(strconv.FormatUint(r.Client.CID, 10)),
			output.Text(r.Client.Program), clock(r.Time), output.Text(r.Op), output.Text(r.Cache), output.Text(r.Principal), result,
			output.Text(r.Reason), output.Text(took), output.Text(strings.Join(more, " "))})
	}
	return table
}
