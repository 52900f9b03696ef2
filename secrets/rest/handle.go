package rest

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"

	"gosssd/confdb"
	"gosssd/secrets"
	"gosssd/secrets/proxy"
)

// provider keeps the secrets of users: here, or elsewhere.
type provider interface {
	// answer replies to a request about a target, or returns an error without
	// having replied.
	answer(w http.ResponseWriter, r *http.Request, at target) error
}

// ServeHTTP answers one request.
func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	sessionOf(r).begin(r.Method)
	// A client that hangs up, or stops sending because the service drains,
	// must not take back a change that was begun.
	r = r.WithContext(context.WithoutCancel(r.Context()))
	defer sessionOf(r).memory.Free()
	began := time.Now()
	err := s.handle(w, r)
	status, text := statusOf(err)
	if !isUpgrade(r) { // which takes as long as the connection
		s.answered.add(opOfMethod(r.Method), resultOf(r.Method, status, err), time.Since(began))
	}
	if err == nil {
		return
	}
	s.note(sessionOf(r), status, err)
	if worded, ok := errors.AsType[wordedError](err); ok {
		if status == http.StatusInternalServerError {
			text = worded.Error()
		}
		answer(w, status, "text/plain; charset=utf-8", []byte(text))
		return
	}
	answerStatus(w, status, text)
}

func (s *service) handle(w http.ResponseWriter, r *http.Request) error {
	c := sessionOf(r)
	if c.log.On(hclog.Debug) {
		c.log.Debug("request", "op", r.Method, "uid", c.peer.UID, "length", r.ContentLength)
	}
	if isUpgrade(r) {
		return s.upgrade(w, r)
	}
	if trusted(c.peer) {
		if isOne, err := s.upkeep(w, r); isOne {
			return err
		}
	}
	at, err := route(c.peer, r.URL)
	c.about = at
	if err != nil {
		return err
	}
	now := s.settings.Load()
	if at.hive == usersHive {
		if p := now.proxies[at.uid]; p != nil {
			return p.answer(w, r, at)
		}
		return s.local.with(now.users).answer(w, r, at)
	}
	return s.local.with(now.kcm).answer(w, r, at)
}

// resolve makes the providers that a configuration asks for. One that cannot
// be made fails the requests of its user only.
func (s *service) resolve(conf *confdb.Snapshot) *settings {
	read := secrets.Resolve(conf)
	now := &settings{users: read.Users, kcm: read.KCM, proxies: map[uint32]provider{}}
	for _, name := range read.Unnamed {
		s.log.Warn("a section of a user has no effect, its name must end in a UID", "section", name)
	}
	for uid, config := range read.Proxies {
		p, err := proxy.New(config)
		if err != nil {
			s.log.Error("the proxy of a user cannot be used", "uid", uid, "error", err)
			now.proxies[uid] = failed{err}
			continue
		}
		now.proxies[uid] = &forwarded{proxy: p, limit: bodyLimit(jsonType, read.Users.PayloadLimit())}
	}
	return now
}

// failed stands for a provider that could not be made.
type failed struct{ err error }

func (f failed) answer(http.ResponseWriter, *http.Request, target) error { return f.err }

// forwarded is the provider that asks a Custodia server.
type forwarded struct {
	proxy *proxy.Proxy
	limit int64 // bytes of a body
}

func (f *forwarded) answer(w http.ResponseWriter, r *http.Request, at target) error {
	switch r.Method {
	case http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete:
	default:
		return errBadRequest
	}
	if r.ContentLength > f.limit {
		return errTooLarge
	}
	if err := takeMemory(r, proxyMemory); err != nil {
		return err
	}
	r.Body = http.MaxBytesReader(w, r.Body, f.limit)
	return f.proxy.Forward(w, r, at.raw)
}

// proxyMemory is about what one forwarded request takes: a buffer for each
// direction, and those of the connection.
const proxyMemory = 96 << 10
