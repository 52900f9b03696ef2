// Package proxy forwards requests for secrets to a Custodia server, which
// keeps them in place of the vault.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"gosssd/secrets"
)

// Deadlines of one forwarded request.
const (
	connectTimeout = 5 * time.Second
	headTimeout    = 15 * time.Second
	totalTimeout   = 30 * time.Second
)

// Proxy forwards the requests of one user. It is safe for concurrent use.
type Proxy struct {
	config secrets.Proxy
	base   string // the URL, without a slash at its end
	client *http.Client
}

// New checks a configuration, and reads the certificates it names.
func New(config secrets.Proxy) (*Proxy, error) {
	target, err := config.Target()
	if err != nil {
		return nil, err
	}
	tls, err := tlsConfig(config, target.Hostname())
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		DialContext:           (&net.Dialer{Timeout: connectTimeout}).DialContext,
		TLSClientConfig:       tls,
		TLSHandshakeTimeout:   connectTimeout,
		ResponseHeaderTimeout: headTimeout,
		IdleConnTimeout:       time.Minute,
		MaxIdleConnsPerHost:   4,
		DisableCompression:    true, // bodies pass as they are
	}
	return &Proxy{
		config: config,
		base:   strings.TrimRight(config.URL, "/"),
		client: &http.Client{
			Transport:     transport,
			Timeout:       totalTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Forward sends a request for path, as the client sent it, and answers with
// what the server says, whatever that is. It returns an error if nothing was
// answered: one that matches context.DeadlineExceeded if the server was slow.
func (p *Proxy) Forward(w http.ResponseWriter, r *http.Request, path string) error {
	out, err := p.request(r, path)
	if err != nil {
		return fmt.Errorf("forward: %w", err)
	}
	in, err := p.client.Do(out)
	if err != nil {
		return fmt.Errorf("forward: %w", hideURL(err))
	}
	defer in.Body.Close()
	header := w.Header()
	for name, values := range in.Header {
		if !hopByHop(name, in.Header) {
			header[name] = values
		}
	}
	if _, sent := in.Header["Date"]; !sent {
		header["Date"] = nil
	}
	w.WriteHeader(in.StatusCode)
	if _, err := io.Copy(w, in.Body); err != nil {
		// The answer has begun: the client must see that it is cut short.
		panic(http.ErrAbortHandler)
	}
	return nil
}

// request makes the request to the server. Of the client's headers it gets
// those that describe the body and those the administrator lists.
func (p *Proxy) request(r *http.Request, path string) (*http.Request, error) {
	target := p.base + "/" + path
	if r.URL.RawQuery != "" {
		target += "?" + r.URL.RawQuery
	}
	out, err := http.NewRequestWithContext(r.Context(), r.Method, target, r.Body)
	if err != nil {
		return nil, errors.New("the path makes no URL")
	}
	out.ContentLength = r.ContentLength
	if r.ContentLength == 0 {
		out.Body = http.NoBody
	}
	out.Header["User-Agent"] = nil
	for _, name := range append([]string{"Content-Type"}, p.config.ForwardHeaders...) {
		if values := r.Header.Values(name); len(values) > 0 {
			out.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
	switch p.config.AuthType {
	case "basic_auth":
		out.SetBasicAuth(p.config.Username, p.config.Password)
	case "header":
		out.Header.Set(p.config.HeaderName, p.config.HeaderValue)
	}
	return out, nil
}

// hopByHop reports whether a header is about the connection to the server and
// not about the answer (RFC 9110, section 7.6.1).
func hopByHop(name string, header http.Header) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	for _, value := range header.Values("Connection") {
		for listed := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(listed), name) {
				return true
			}
		}
	}
	return false
}

// hideURL leaves out the URL, whose path names a secret.
func hideURL(err error) error {
	var wrapped *url.Error
	if !errors.As(err, &wrapped) {
		return err
	}
	if wrapped.Timeout() {
		return fmt.Errorf("%w: %w", context.DeadlineExceeded, wrapped.Err)
	}
	return wrapped.Err
}
