package kdc

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"gosssd/kdc/profile"
)

// overHTTPS sends a request to a KDC proxy.
func (s *sender) overHTTPS(ctx context.Context, url string, request []byte) ([]byte, error) {
	roots, err := s.roots()
	if err != nil {
		return nil, err
	}
	body, err := encodeProxyMessage(s.realm, request)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		DialContext:       s.dial.DialContext,
		TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true, // the next renewal is hours away
	}
	defer transport.CloseIdleConnections()
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	post.Header.Set("Content-Type", "application/kerberos")
	response, err := transport.RoundTrip(post) // follows no redirection, as libkrb5
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the KDC proxy answers %s", response.Status)
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxReply+1))
	if err != nil {
		return nil, err
	}
	return decodeProxyMessage(answer)
}

// proxyMessage is the KDC-PROXY-MESSAGE of MS-KKDCP §2.2.2. The first member
// is a Kerberos message behind its length, as over TCP.
type proxyMessage struct {
	Message []byte        `asn1:"explicit,tag:0"`
	Realm   asn1.RawValue `asn1:"optional,tag:1"` // holds a GeneralString, which encoding/asn1 does not know
	Hint    int           `asn1:"explicit,optional,tag:2"`
}

const generalString = 27

func encodeProxyMessage(realm string, request []byte) ([]byte, error) {
	name, err := asn1.Marshal(asn1.RawValue{Tag: generalString, Bytes: []byte(realm)})
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(proxyMessage{
		Message: framed(request),
		Realm:   asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 1, IsCompound: true, Bytes: name},
	})
}

func decodeProxyMessage(answer []byte) ([]byte, error) {
	var message proxyMessage
	if len(answer) > maxReply {
		return nil, fmt.Errorf("%w: the proxy's is longer than %d bytes", errReply, maxReply)
	}
	if rest, err := asn1.Unmarshal(answer, &message); err != nil || len(rest) > 0 {
		return nil, fmt.Errorf("%w: it is no KDC-PROXY-MESSAGE", errReply)
	}
	return readFramed(bytes.NewReader(message.Message))
}

// roots returns how to find the authorities that a realm's proxies must be
// certified by: its http_anchors in krb5.conf, or else the system's.
func roots(conf *profile.Profile, realm string) func() (*x509.CertPool, error) {
	return func() (*x509.CertPool, error) {
		anchors := conf.Values("realms", realm, "http_anchors")
		if len(anchors) == 0 {
			return x509.SystemCertPool()
		}
		pool := x509.NewCertPool()
		for _, anchor := range anchors {
			if err := addAnchor(pool, anchor); err != nil {
				return nil, fmt.Errorf("http_anchors of realm %s: %w", realm, err)
			}
		}
		return pool, nil
	}
}

func addAnchor(pool *x509.CertPool, anchor string) error {
	kind, path, _ := strings.Cut(anchor, ":")
	var files []string
	switch kind {
	case "FILE":
		files = []string{path}
	case "DIR":
		entries, err := os.ReadDir(path)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			files = append(files, filepath.Join(path, entry.Name()))
		}
	case "ENV":
		return addAnchor(pool, os.Getenv(path))
	default:
		return fmt.Errorf("%q is not FILE:PATH, DIR:PATH or ENV:NAME", anchor)
	}
	found := false
	for _, file := range files {
		pem, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		found = pool.AppendCertsFromPEM(pem) || found
	}
	if !found {
		return errors.New(anchor + " has no certificate")
	}
	return nil
}
