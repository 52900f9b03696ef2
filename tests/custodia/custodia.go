// Package custodia is a small server of the Custodia protocol, which the proxy
// provider of sssd-secrets(5) talks to, and an authority that makes its
// certificates. It is for tests: what is stored lies in memory.
package custodia

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Base is the path below which a server keeps its secrets.
const Base = "/base/"

// Server keeps secrets by path, made once by PUT, and containers, made by POST
// on a path that ends in a slash. It is safe for concurrent use.
type Server struct {
	// Authenticate says who may ask; nil means everybody.
	Authenticate func(*http.Request) bool

	mu     sync.Mutex
	stored map[string]secret // paths of containers end in a slash
	seen   []*http.Request
}

type secret struct {
	contentType string
	value       []byte
}

// New returns an empty server.
func New() *Server { return &Server{stored: map[string]secret{}} }

// Start serves without TLS until the test ends, and returns the URL of Base.
func Start(t testing.TB, handler http.Handler) (url string) {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL + Base
}

// StartTLS serves with a certificate for host until the test ends. Clients have
// to show a certificate of the authority clients, unless that is nil.
func StartTLS(t testing.TB, handler http.Handler, issuer *Authority, host string, clients *Authority) (url string) {
	server := httptest.NewUnstartedServer(handler)
	server.TLS = issuer.server(t, host, clients)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL + Base
}

// Seen returns the requests that arrived, in their order.
func (s *Server) Seen() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// Stored returns the value of a secret below Base, or nil.
func (s *Server) Stored(path string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stored[path].value
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "cut short", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, r)
	path, found := strings.CutPrefix(r.URL.EscapedPath(), Base)
	switch {
	case s.Authenticate != nil && !s.Authenticate(r):
		http.Error(w, "who are you", http.StatusForbidden)
	case !found || !s.hasParent(path):
		http.Error(w, "no such container", http.StatusNotFound)
	case r.Method == http.MethodGet && strings.HasSuffix("/"+path, "/"):
		s.list(w, path)
	case r.Method == http.MethodGet:
		s.get(w, path)
	case r.Method == http.MethodPut && !strings.HasSuffix(path, "/"), r.Method == http.MethodPost && strings.HasSuffix(path, "/"):
		s.create(w, path, secret{r.Header.Get("Content-Type"), body})
	case r.Method == http.MethodDelete:
		s.remove(w, path)
	default:
		http.Error(w, "not that way", http.StatusMethodNotAllowed)
	}
}

// hasParent reports whether the container exists that path lies in.
func (s *Server) hasParent(path string) bool {
	end := strings.LastIndexByte(strings.TrimSuffix(path, "/"), '/')
	if end < 0 {
		return true
	}
	_, exists := s.stored[path[:end+1]]
	return exists
}

func (s *Server) get(w http.ResponseWriter, path string) {
	found, exists := s.stored[path]
	if !exists {
		http.Error(w, "no such secret", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", found.contentType)
	w.Header().Set("X-Custodia", "kept")
	_, _ = w.Write(found.value)
}

func (s *Server) list(w http.ResponseWriter, path string) {
	names := []string{}
	for stored := range s.stored {
		if name, below := strings.CutPrefix(stored, path); below && name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(names)
}

func (s *Server) create(w http.ResponseWriter, path string, value secret) {
	if _, exists := s.stored[path]; exists {
		http.Error(w, "already there", http.StatusConflict)
		return
	}
	s.stored[path] = value
	w.WriteHeader(http.StatusCreated)
}

func (s *Server) remove(w http.ResponseWriter, path string) {
	if _, exists := s.stored[path]; !exists {
		http.Error(w, "no such secret", http.StatusNotFound)
		return
	}
	for stored := range s.stored {
		if strings.HasSuffix(path, "/") && stored != path && strings.HasPrefix(stored, path) {
			http.Error(w, "not empty", http.StatusConflict)
			return
		}
	}
	delete(s.stored, path)
	w.WriteHeader(http.StatusNoContent)
}
