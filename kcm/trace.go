package kcm

import (
	"slices"
	"strings"
	"time"

	"gosssd/kcm/protocol"
	"gosssd/responder/log"
)

// What levels above 6 show: 7 what the store is asked, 8 how long each step
// takes, 9 each request with its parameters. Names, principals, times, sizes
// and counts are told, never keys, tickets or the values of configuration
// entries. If the level is off, none of this is computed.

// logRequest logs a request before it is served. It returns the time if the
// duration of the request is to be logged, and otherwise zero.
func (s *session) logRequest(request protocol.Request) (began time.Time) {
	if s.log.Wants(log.TraceAll) {
		pairs := []any{"op", request.Op, "uid", s.peer.UID, "pid", s.peer.PID, "program", s.about.program}
		s.log.At(log.TraceAll, "request", append(pairs, parameters(request)...)...)
	}
	if s.log.Wants(log.TraceInternal) {
		return time.Now()
	}
	return time.Time{}
}

// parameters reads the parameters of a request for the log.
func parameters(request protocol.Request) []any {
	r := protocol.NewReader(request.Params)
	var pairs []any
	tell := func(more ...any) { pairs = append(pairs, more...) }
	switch request.Op {
	case protocol.OpNoop, protocol.OpGenNew, protocol.OpGetCacheUUIDList, protocol.OpGetDefaultCache:
		return nil
	case protocol.OpGetCacheByUUID:
		tell("uuid", r.UUID())
		return checked(&r, pairs)
	}
	if operationOf(request.Op).access == nothing {
		return []any{"bytes", len(request.Params)}
	}
	tell("cache", string(r.Name()))
	switch request.Op {
	case protocol.OpInitialize:
		tell("principal", r.Principal())
	case protocol.OpReplace:
		tell("offset", r.Int32(), "principal", r.Principal())
		pairs = append(pairs, describeList(r.CredentialList())...)
	case protocol.OpStore:
		cred := r.Credential()
		pairs = append(pairs, describe(&cred)...)
	case protocol.OpRetrieve, protocol.OpRemoveCred:
		tell("flags", r.Uint32())
		tag := r.Credtag()
		pairs = append(append(pairs, "present", tag.Present), describe(&tag.Credential)...)
	case protocol.OpGetCredByUUID:
		tell("uuid", r.UUID())
	case protocol.OpMoveCache:
		tell("to", string(r.Name()))
	case protocol.OpSetKDCOffset:
		tell("offset", r.Int32())
	case protocol.OpSetFlags:
		tell("flags", r.Uint32())
	case protocol.OpChmod:
		tell("mode", r.Uint16())
	case protocol.OpChown:
		tell("owner", r.Uint32(), "group", r.Uint32())
	}
	return checked(&r, pairs)
}

// checked returns pairs, or the error if parameters were missing or wrong.
func checked(r *protocol.Reader, pairs []any) []any {
	if err := r.Err(); err != nil {
		return []any{"error", err}
	}
	return pairs
}

// describe returns what may be told of a credential.
func describe(c *protocol.Credential) []any {
	return []any{
		"client", c.Client, "server", c.Server, "enctype", c.Key.Enctype, "ticket flags", c.TicketFlags,
		"auth", timeText(c.Times.Auth), "start", timeText(c.Times.Start), "end", timeText(c.Times.End), "renew till", timeText(c.Times.RenewTill),
		"user-to-user", c.IsSkey != 0, "addresses", len(c.Addresses), "authdata", len(c.AuthData), "ticket bytes", len(c.Ticket),
	}
}

// timeText returns a time of a ticket as text.
func timeText(t uint32) string {
	if t == 0 {
		return "none"
	}
	return time.Unix(int64(t), 0).UTC().Format(time.RFC3339)
}

// describeList returns what may be told of many credentials.
func describeList(list [][]byte) []any {
	var servers []string
	for _, raw := range list {
		if cred, err := protocol.ParseCredential(raw); err == nil {
			servers = append(servers, cred.Server.String()+" until "+timeText(cred.Times.End))
		}
	}
	return []any{"credentials", len(list), "servers", strings.Join(servers, ", ")}
}

// logCommit logs what the store was asked to change.
func (u *users) logCommit(uid uint32, records map[string][]byte, began time.Time, err error) {
	if !u.log.Wants(log.TraceLibs) {
		return
	}
	puts, bytes := 0, 0
	keys := make([]string, 0, len(records))
	for key, value := range records {
		keys = append(keys, key)
		if value != nil {
			puts++
			bytes += len(value)
		}
	}
	slices.Sort(keys)
	u.log.At(log.TraceLibs, "store: commit", "uid", uid, "puts", puts, "deletes", len(records)-puts, "bytes", bytes,
		"took", time.Since(began), "result", resultOf(err), "keys", strings.Join(keys, ","))
}

// logLoad logs what the store was asked for.
func (u *users) logLoad(uid uint32, l *loader, began time.Time, err error) {
	if !u.log.Wants(log.TraceLibs) {
		return
	}
	caches, credentials, bytes := 0, 0, int64(0)
	for _, c := range l.caches {
		credentials += len(c.entries)
		bytes += c.size
		if c.header != nil {
			caches++
			bytes += c.header.size
		}
	}
	u.log.At(log.TraceLibs, "store: load", "uid", uid, "caches", caches, "credentials", credentials, "bytes", bytes,
		"took", time.Since(began), "result", resultOf(err))
}

func resultOf(err error) string {
	if err != nil {
		return err.Error()
	}
	return "done"
}

// stopwatch measures the steps of a change. A nil one measures nothing.
type stopwatch struct {
	last  time.Time
	pairs []any
}

// watch returns a stopwatch that has run since a time, where somebody asks.
func (u *users) watch(since time.Time) *stopwatch {
	if !u.log.Wants(log.TraceInternal) {
		return nil
	}
	return &stopwatch{last: since}
}

// lap notes that a step has ended.
func (w *stopwatch) lap(step string) {
	if w == nil {
		return
	}
	now := time.Now()
	w.pairs = append(w.pairs, step, now.Sub(w.last))
	w.last = now
}

// logSteps logs how long the steps of a change took. The caller holds mu.
func (c *collection) logSteps(w *waiting) {
	if c.steps != nil {
		c.users.log.Trace("change", append([]any{"uid", c.uid, "result", resultOf(w.err)}, c.steps.pairs...)...)
	}
	c.steps = nil
}
