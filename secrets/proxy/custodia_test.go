package proxy

import (
	"io"
	"net/http"
	"strings"
	"sync"
)

// custodia is a small server of the Custodia protocol: secrets by path, made
// by PUT once, containers by POST with a slash at the end.
type custodia struct {
	authenticate func(*http.Request) bool

	mu      sync.Mutex
	secrets map[string][]byte
	seen    []*http.Request
}

func (c *custodia) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, r)
	if c.authenticate != nil && !c.authenticate(r) {
		http.Error(w, "who are you", http.StatusForbidden)
		return
	}
	path, found := strings.CutPrefix(r.URL.EscapedPath(), "/base/")
	if !found {
		http.Error(w, "no such base", http.StatusNotFound)
		return
	}
	value, exists := c.secrets[path]
	switch r.Method {
	case http.MethodGet:
		if !exists {
			http.Error(w, "no such secret", http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("X-Custodia", "kept")
		w.Write(value)
	case http.MethodPut, http.MethodPost:
		if exists {
			http.Error(w, "already there", http.StatusConflict)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, "cut short", http.StatusBadRequest)
			return
		}
		c.secrets[path] = body
		w.WriteHeader(http.StatusCreated)
	case http.MethodDelete:
		delete(c.secrets, path)
		w.WriteHeader(http.StatusNoContent)
	}
}

// last is the latest request that arrived.
func (c *custodia) last() *http.Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen[len(c.seen)-1]
}
