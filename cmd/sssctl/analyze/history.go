package analyze

import (
	"slices"
	"strconv"
	"time"

	"gosssd/responder/log"
)

// Filter chooses connections. A nil member chooses all.
type Filter struct {
	CID   *uint64
	PID   *uint32 // of the client
	UID   *uint32 // of the client
	Since time.Time
}

// Any reports whether connections are chosen at all.
func (f Filter) Any() bool { return f.CID != nil || f.PID != nil || f.UID != nil }

// History is what lines, added in their order, tell.
type History struct {
	filter   Filter
	Clients  []*Client
	Requests []*Request // of the clients that the filter chooses
	LeftOut  []LeftOut  // of the users that the filter chooses

	process *process
	known   map[string]*process // by Line.Process, where lines have that
	begun   int
}

// process is one life of sssd_kcm. Numbers of connections begin anew with it.
type process struct {
	number  int
	clients map[uint64]*Client
	levels  log.Level // of its lines
	timed   bool      // a line says how long a request took
}

// Client is one connection.
type Client struct {
	Process     int // counts up from 1 in what was read
	CID         uint64
	UID, PID    uint32
	Program     string
	First, Last time.Time
	Requests    int // that a line tells of
	Unserved    int // of them, those that were refused or have failed
	of          *process
	named       bool     // a line has told uid and pid
	announced   *Request // the present request, where its parameters are logged
}

// Request is one request of a client, or another thing that happened to it.
type Request struct {
	Client    *Client
	Time      time.Time
	Op        string
	Event     Event
	Cache     string
	Principal string
	Code      string
	Reason    string
	Took      *time.Duration // nil: the line does not tell
	More      []Pair         // all else that the lines tell
}

// Event is what became of a request, or another line about a client.
type Event string

// What a line may tell, in words for people and programs.
const (
	Served   Event = "served"
	Answered Event = "answered with a code"
	Refused  Event = "refused"
	Failed   Event = "failed"
	Dropped  Event = "client dropped"
	Gone     Event = "client gone"
	Begun    Event = "begun" // no line tells what became of it
)

// events are the lines about requests, by their texts.
var events = map[string]Event{
	"request served": Served, "request answered with a code": Answered, "request refused": Refused, "request failed": Failed,
	"client dropped": Dropped, "client gone": Gone, "request": Begun,
}

// LeftOut are lines that were counted, since they repeated each other.
type LeftOut struct {
	Time   time.Time // when they were counted
	Lines  int
	Window time.Duration
	UID    string
	Text   string
	Op     string // of one of them, as all that follows
	Code   string
	Reason string
}

// New returns an empty history.
func New(filter Filter) *History {
	return &History{filter: filter, known: map[string]*process{}}
}

// Add takes the next line.
func (h *History) Add(l Line) {
	if l.Program != "kcm" || !h.filter.Since.IsZero() && l.Time.Before(h.filter.Since) {
		return
	}
	p := h.processOf(l)
	p.levels |= l.Level
	if l.LeftOut > 0 {
		h.addLeftOut(l)
		return
	}
	if l.CID == 0 {
		return
	}
	c := h.clientOf(p, l)
	c.Last = l.Time
	if c.Program == "" {
		c.Program = l.Get("program")
	}
	event, known := events[l.Text]
	if !known {
		event = Event(l.Text)
	}
	switch event {
	case Served, Answered, Refused, Failed:
		c.Requests++
	}
	if event == Refused || event == Failed {
		c.Unserved++
	}
	r := requestOf(c, l, event)
	p.timed = p.timed || r.Took != nil
	if h.filter.Any() && h.chosen(c) {
		h.addRequest(r)
	}
}

// processOf is the process that wrote a line. Files do not name it: there one
// begins where it says so, which only level 4 and above show, and where a
// connection's number is suddenly another client's.
func (h *History) processOf(l Line) *process {
	if l.Process != "" {
		if h.known[l.Process] == nil {
			h.known[l.Process] = h.begin()
		}
		return h.known[l.Process]
	}
	if h.process == nil || l.Text == "ready" && l.CID == 0 && len(h.process.clients) > 0 || h.process.contradicts(l) {
		h.process = h.begin()
	}
	return h.process
}

func (h *History) begin() *process {
	h.begun++
	return &process{number: h.begun, clients: map[uint64]*Client{}}
}

// contradicts reports whether a line cannot be of a process: the client of a
// connection never changes.
func (p *process) contradicts(l Line) bool {
	c := p.clients[l.CID]
	uid, pid, told := who(l)
	return c != nil && c.named && told && l.LeftOut == 0 && (c.UID != uid || c.PID != pid)
}

// who is the client that a line is about.
func who(l Line) (uid, pid uint32, ok bool) {
	u, err := strconv.ParseUint(l.Get("uid"), 10, 32)
	p, err2 := strconv.ParseUint(l.Get("pid"), 10, 32)
	return uint32(u), uint32(p), err == nil && err2 == nil
}

func (h *History) clientOf(p *process, l Line) *Client {
	c := p.clients[l.CID]
	if c == nil {
		c = &Client{Process: p.number, CID: l.CID, First: l.Time, of: p}
		p.clients[l.CID] = c
		h.Clients = append(h.Clients, c)
	}
	if uid, pid, told := who(l); told {
		c.UID, c.PID, c.named = uid, pid, true
	}
	return c
}

func (h *History) chosen(c *Client) bool {
	f := h.filter
	return (f.CID == nil || *f.CID == c.CID) && (f.PID == nil || *f.PID == c.PID) && (f.UID == nil || *f.UID == c.UID)
}

// requestOf reads what a line tells of a request.
func requestOf(c *Client, l Line, event Event) *Request {
	r := &Request{Client: c, Time: l.Time, Event: event}
	for _, pair := range l.Pairs {
		switch pair.Key {
		case "uid", "pid", "program":
		case "op":
			r.Op = pair.Value
		case "cache":
			r.Cache = pair.Value
		case "principal":
			r.Principal = pair.Value
		case "code":
			r.Code = pair.Value
		case "reason":
			r.Reason = pair.Value
		case "took":
			if d, err := time.ParseDuration(pair.Value); err == nil {
				r.Took = &d
			}
		default:
			r.More = append(r.More, pair)
		}
	}
	return r
}

// addRequest adds a request, or to the line that has announced it what became
// of it. Requests of one connection are served one after the other.
func (h *History) addRequest(r *Request) {
	c := r.Client
	switch r.Event {
	case Begun:
		c.announced = r
	case Served, Answered, Refused, Failed:
		a := c.announced
		c.announced = nil
		if a != nil && a.Op == r.Op {
			r.Time, r.More = a.Time, slices.Concat(a.More, r.More)
			if r.Cache == "" {
				r.Cache = a.Cache
			}
			if r.Principal == "" {
				r.Principal = a.Principal
			}
			*a = *r
			return
		}
	}
	h.Requests = append(h.Requests, r)
}

func (h *History) addLeftOut(l Line) {
	uid := l.Get("uid")
	if h.filter.UID != nil && uid != strconv.FormatUint(uint64(*h.filter.UID), 10) {
		return
	}
	h.LeftOut = append(h.LeftOut, LeftOut{Time: l.Time, Lines: l.LeftOut, Window: l.Window, UID: uid, Text: l.Text,
		Op: l.Get("op"), Code: l.Get("code"), Reason: l.Get("reason")})
}

// OperationsLogged reports whether the processes that served the clients wrote
// of requests that were served; DurationsLogged, whether they wrote how long
// they took. Without clients neither is so.
func (h *History) OperationsLogged() bool {
	return h.all(func(p *process) bool { return p.levels&log.TraceFunc != 0 })
}

// DurationsLogged is explained at OperationsLogged.
func (h *History) DurationsLogged() bool { return h.all(func(p *process) bool { return p.timed }) }

func (h *History) all(so func(*process) bool) bool {
	found := false
	for _, c := range h.Clients {
		if h.chosen(c) {
			if found = true; !so(c.of) {
				return false
			}
		}
	}
	return found
}

// Chosen are the clients that the filter chooses.
func (h *History) Chosen() []*Client {
	var list []*Client
	for _, c := range h.Clients {
		if h.chosen(c) {
			list = append(list, c)
		}
	}
	return list
}
