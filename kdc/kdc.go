// Package kdc talks to Kerberos key distribution centers. It finds those of a
// realm as libkrb5 would on the same host, sends a request to one after the
// other, and takes replies apart. Messages and cryptography are gokrb5's;
// the search, the transport and every limit are here.
//
// It renews tickets, and gets those for services. It keeps no credentials.
package kdc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/messages"
)

// Refused is the answer of a KDC that does not give the ticket.
type Refused struct {
	Code int32  // of RFC 4120 §7.5.9
	Text string // what the KDC adds; "" if nothing
}

func (e *Refused) Error() string {
	if e.Text != "" && e.Text != errorName(e.Code) {
		return fmt.Sprintf("the KDC refuses: %s (code %d, %q)", errorName(e.Code), e.Code, e.Text)
	}
	return fmt.Sprintf("the KDC refuses: %s (code %d)", errorName(e.Code), e.Code)
}

// KDCCode returns the code.
func (e *Refused) KDCCode() int32 { return e.Code }

// Unreachable says that no KDC of a realm gave an answer that can be used.
type Unreachable struct {
	Realm string
	Err   error // what became of each attempt
}

func (e *Unreachable) Error() string { return fmt.Sprintf("no KDC of %s answers: %v", e.Realm, e.Err) }
func (e *Unreachable) Unwrap() error { return e.Err }

// Outage reports whether no KDC answered at all, so that others would wait in
// vain as well. A useless answer may be due to what was asked.
func (e *Unreachable) Outage() bool { return !errors.Is(e.Err, errReply) }

// SilentRealm returns the realm where no KDC answered at all, or "".
func (e *Unreachable) SilentRealm() string {
	if e.Outage() {
		return e.Realm
	}
	return ""
}

// errReply is the reason to distrust a reply: it is malformed, does not
// belong to the request, or offers less than what was asked for.
var errReply = errors.New("the KDC's reply cannot be used")

// Realms finds KDCs and talks to them. Its methods may be called by many
// goroutines at once. The zero value reads /etc/krb5.conf.
type Realms struct {
	Files []string // krb5.conf; nil: what KRB5_CONFIG says, or /etc/krb5.conf
	// KinitDir is where programs of libkrb5's get a private directory for a
	// ticket that the KDC gives to libkrb5 only; "": such a ticket is refused.
	KinitDir string
	KDCInfo  string                                                  // directory of kdcinfo.REALM; "": that of SSSD
	Dial     Dialer                                                  // nil: the host's network
	SRV      func(context.Context, string, string) ([]Server, error) // by protocol and realm; nil: DNS
	Now      func() time.Time                                        // nil: time.Now
}

// Exchange gets an answer to a request for a realm. A reply that accept
// refuses counts as none, and the next KDC is asked.
func (r *Realms) exchange(ctx context.Context, realm string, request []byte, accept func(reply []byte) error) error {
	conf, err := r.profile()
	if err != nil {
		return &Unreachable{realm, err}
	}
	servers, err := r.locate(ctx, conf, realm)
	if err != nil {
		return &Unreachable{realm, err}
	}
	if len(servers) == 0 {
		return &Unreachable{realm, errors.New("krb5.conf, SSSD's kdcinfo and DNS name none")}
	}
	s := sender{dial: r.dialer(), roots: roots(conf, realm), realm: realm, preferTCP: len(request) > udpPreference(conf)}
	return s.ask(ctx, servers, request, accept)
}

func (r *Realms) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}

// elsewhere reports whether another KDC of the realm may answer otherwise.
func (e *Refused) elsewhere() bool { return e.Code == errorcode.KDC_ERR_SVC_UNAVAILABLE }

// errorName returns what an error code means.
func errorName(code int32) string {
	// The library's text begins with the number and the name in RFC 4120.
	if fields := strings.SplitN(errorcode.Lookup(code), " ", 3); len(fields) == 3 && fields[0] == fmt.Sprintf("(%d)", code) {
		return fields[2]
	}
	return "for a reason without a name"
}

// tooBig reports whether a reply says that the answer needs TCP (RFC 4120 §7.2.1).
func tooBig(reply []byte) bool {
	var refusal messages.KRBError
	err := guarded(func() error { return refusal.Unmarshal(reply) })
	return err == nil && refusal.ErrorCode == errorcode.KRB_ERR_RESPONSE_TOO_BIG
}
