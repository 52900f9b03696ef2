package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"gosssd/layout"
	"gosssd/secrets"
)

// The content types in which the service takes and returns secrets.
const (
	jsonType  = "application/json"
	octetType = "application/octet-stream"
)

// request is one question to the secrets service.
type request struct {
	method string
	base   string // "/secrets/", or what root may ask for
	name   string // below base; a container's ends in a slash
	form   string // Content-Type of the request, and of the answer that is wanted
	body   []byte
}

// refusal is an answer that is not success.
type refusal struct {
	request request
	status  int
	text    string // of the service, where it is meant for an administrator
}

// secret asks the secrets service and returns the body of its answer. It waits
// as long as the service takes.
func (t *tool) secret(q request) ([]byte, error) {
	socket := secrets.Descriptor().SocketPath(t.root, nil)
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives:     true,
		ExpectContinueTimeout: callTime,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	r, err := http.NewRequest(q.method, "http://localhost"+q.base+escape(q.name), bytes.NewReader(q.body))
	if err != nil {
		return nil, err
	}
	if q.form != "" {
		r.Header.Set("Content-Type", q.form)
	}
	if len(q.body) > 0 { // a refusal comes before the body is sent, not in the middle of it
		r.Header.Set("Expect", "100-continue")
	}
	answer, err := client.Do(r)
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("the secrets service is not there, nobody listens at %s: start %s", socket, layout.Current().Monitor)
	case err != nil:
		return nil, fmt.Errorf("the secrets service: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		refused := &refusal{request: q, status: answer.StatusCode}
		if q.base == "/vault/" && strings.HasPrefix(answer.Header.Get("Content-Type"), "text/plain") {
			const longest = 4096
			text, _ := io.ReadAll(io.LimitReader(answer.Body, longest)) // the status is what counts
			refused.text = string(text)
		}
		return nil, refused
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("the secrets service broke off: %w", err)
	}
	return body, nil
}

// escape writes a name as part of a URL.
func escape(name string) string {
	parts := strings.Split(name, "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	return strings.Join(parts, "/")
}

// Error says what the status means for what was asked.
func (r *refusal) Error() string {
	if r.text != "" {
		return r.text
	}
	name := printable(r.request.name)
	switch r.status {
	case http.StatusBadRequest:
		return fmt.Sprintf("%s is not a name that a secret can have", name)
	case http.StatusForbidden, http.StatusUnauthorized:
		return "only root may do this"
	case http.StatusNotFound:
		return r.notFound(name)
	case http.StatusNotAcceptable:
		return fmt.Sprintf("%s: containers are nested too deep, see containers_nest_level in sssd-secrets(5)", name)
	case http.StatusConflict:
		if r.request.method == http.MethodDelete {
			return fmt.Sprintf("%s is not empty", name)
		}
		return fmt.Sprintf("%s exists already; delete it first", name)
	case http.StatusRequestEntityTooLarge:
		return fmt.Sprintf("the value of %s is too large, see max_payload_size in sssd-secrets(5)", name)
	case http.StatusRequestURITooLong:
		return "the name is too long"
	case http.StatusInsufficientStorage:
		return "there are too many secrets, see max_secrets and max_uid_secrets in sssd-secrets(5)"
	case http.StatusGatewayTimeout:
		return "the server that keeps the secrets has not answered in time"
	}
	return fmt.Sprintf("the secrets service answers with status %d; its log says why", r.status)
}

// notFound tells a name that does not exist from the container that one lies
// in.
func (r *refusal) notFound(name string) string {
	inside := strings.Contains(strings.TrimRight(r.request.name, "/"), "/")
	switch {
	case r.request.method == http.MethodGet && isContainer(r.request.name):
		return fmt.Sprintf("there are no secrets in %s", name)
	case r.request.method == http.MethodGet, r.request.method == http.MethodDelete, !inside:
		return fmt.Sprintf("there is no %s", name)
	}
	return fmt.Sprintf("the container that %s is to be in does not exist", name)
}
