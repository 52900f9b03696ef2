// Package proxy forwards requests for secrets to a Custodia server, which
// keeps them in place of the vault.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"net/http/httputil"
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
	config    secrets.Proxy
	base      string // the URL, without a slash at its end
	transport *http.Transport
	timeout   time.Duration // of one request: totalTimeout, but for tests
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
	return &Proxy{
		config:  config,
		base:    strings.TrimRight(config.URL, "/"),
		timeout: totalTimeout,
		transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: connectTimeout}).DialContext,
			TLSClientConfig:       tls,
			TLSHandshakeTimeout:   connectTimeout,
			ResponseHeaderTimeout: headTimeout,
			IdleConnTimeout:       time.Minute,
			MaxIdleConnsPerHost:   4,
			DisableCompression:    true, // bodies pass as they are
		},
	}, nil
}

// Forward sends a request for path, as the client sent it, and answers with
// what the server says, whatever that is. It returns an error if nothing was
// answered: one that matches context.DeadlineExceeded if the server was slow.
func (p *Proxy) Forward(w http.ResponseWriter, r *http.Request, path string) error {
	target, err := url.Parse(p.base + "/" + path)
	if err != nil {
		return errors.New("forward: the path makes no URL")
	}
	target.RawQuery = r.URL.RawQuery
	ctx, cancel := context.WithTimeout(r.Context(), p.timeout)
	defer cancel()
	var failed error
	reverse := httputil.ReverseProxy{
		Transport: p.transport,
		Rewrite:   func(pr *httputil.ProxyRequest) { p.rewrite(pr, target) },
		ModifyResponse: func(answer *http.Response) error {
			if _, sent := answer.Header["Date"]; !sent {
				w.Header()["Date"] = nil // or net/http would add one
			}
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { failed = err },
		ErrorLog:     stdlog.New(io.Discard, "", 0), // which only tells of answers that are cut short, as the client sees
	}
	reverse.ServeHTTP(w, r.WithContext(ctx))
	if timeout, ok := errors.AsType[net.Error](failed); ok && timeout.Timeout() {
		failed = fmt.Errorf("%w: %w", context.DeadlineExceeded, failed)
	}
	if failed != nil {
		return fmt.Errorf("forward: %w", failed)
	}
	return nil
}

// rewrite makes the request to the server. Of the client's headers it gets
// those that describe the body and those the administrator lists.
func (p *Proxy) rewrite(pr *httputil.ProxyRequest, target *url.URL) {
	out := pr.Out
	out.URL, out.Host, out.Header = target, "", http.Header{}
	for _, name := range append([]string{"Content-Type"}, p.config.ForwardHeaders...) {
		if values := pr.In.Header.Values(name); len(values) > 0 {
			out.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
	switch p.config.AuthType {
	case "basic_auth":
		out.SetBasicAuth(p.config.Username, p.config.Password)
	case "header":
		out.Header.Set(p.config.HeaderName, p.config.HeaderValue)
	}
}
