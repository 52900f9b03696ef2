package kcm

import (
	"fmt"
	"time"

	"gosssd/confdb"
	"gosssd/kcm/renewal"
	"gosssd/responder"
)

// Keys of the options of renewal.
const (
	renewalKey  = "tgt_renewal"
	inheritKey  = "tgt_renewal_inherit"
	intervalKey = "krb5_renew_interval"
	timeoutKey  = "krb5_auth_timeout"
)

const domainPrefix = "domain/"

// Why options of SSSD's krb5_child have no effect on a renewal.
const (
	oldTicketsLife = "a renewed ticket lives as long as the one before it did, and its renew-until stays (RFC 4120 section 3.3.3.1); choose both with kinit"
	sealedReply    = "the answer to a renewal is sealed with the key of the old ticket, which only the right KDC knows"
	sameNames      = "a renewed ticket has the names of the one before it"
)

func renewalOptions() []confdb.Option {
	return append([]confdb.Option{
		{Key: renewalKey, Kind: confdb.Bool, Default: "false",
			Text: "Renew ticket-granting tickets that can be renewed, after half of their life"},
		{Key: inheritKey, Kind: confdb.String,
			Text: "The domain whose krb5_renew_interval and krb5_auth_timeout hold where they are not set here"},
		{Key: "krb5_renewable_lifetime", Kind: confdb.Duration, NotServed: oldTicketsLife, Text: "Not served: the renewable lifetime to ask for"},
		{Key: "krb5_lifetime", Kind: confdb.Duration, NotServed: oldTicketsLife, Text: "Not served: the lifetime to ask for"},
		{Key: "krb5_validate", Kind: confdb.Bool, Default: "false", NotServed: sealedReply, Text: "Not served: verify renewed tickets with the host's key"},
		{Key: "krb5_canonicalize", Kind: confdb.Bool, Default: "false", NotServed: sameNames, Text: "Not served: canonicalize the principal"},
	}, inheritedOptions()...)
}

// inheritedOptions are those that a domain of SSSD may have as well.
func inheritedOptions() []confdb.Option {
	return []confdb.Option{
		{Key: intervalKey, Kind: confdb.Duration, Unit: "s",
			Text: "The longest time until a renewal that failed is tried again; must be set for tgt_renewal"},
		{Key: timeoutKey, Kind: confdb.Duration, Default: "6", Unit: "s", Min: 1,
			Text: "How long one renewal may take"},
	}
}

// inheritedSection is that of SSSD's domains, of which only those are read.
func inheritedSection() confdb.Section {
	return confdb.Section{
		Name: domainPrefix + "*", Open: true, Text: "A domain of SSSD, as far as its options are inherited by renewal",
		Options: inheritedOptions(),
	}
}

// renewalOf returns how tickets are to be renewed; false if they are not.
func renewalOf(conf *confdb.Snapshot) (renewal.Options, bool) {
	own := conf.Section(section)
	return renewal.Options{Interval: inherited(conf, intervalKey), Timeout: inherited(conf, timeoutKey)}, own.Bool(renewalKey)
}

// UsesNetwork reports whether the responder, or what it executes, has anything
// to do with other hosts for as long as it runs: renewal and get_tickets ask KDCs,
// and hooks that it starts itself ask whom they like.
func UsesNetwork(conf *confdb.Snapshot, root responder.Root) bool {
	_, renews := renewalOf(conf)
	return renews || getsTickets(conf) || hooksTickets(conf) && !systemdRuns(root)
}

// renewsTickets reports whether there is work for the responder although no
// client has come: tickets from before a restart become due.
func renewsTickets(conf *confdb.Snapshot) bool {
	_, on := renewalOf(conf)
	return on
}

// inherited returns an option of [kcm], or where it is not set there, of the
// domain that tgt_renewal_inherit names.
func inherited(conf *confdb.Snapshot, key string) time.Duration {
	own := conf.Section(section)
	if domain := own.String(inheritKey); domain != "" && !own.IsSet(key) {
		return conf.Section(domainPrefix + domain).Duration(key)
	}
	return own.Duration(key)
}

// checkRenewal says what is missing for tickets to be renewed.
func checkRenewal(conf *confdb.Snapshot) []responder.Remark {
	options, on := renewalOf(conf)
	if !on || options.Interval > 0 {
		return nil
	}
	text := intervalKey + " is not set; it must be a duration such as 30m"
	if domain := conf.Section(section).String(inheritKey); domain != "" {
		text = fmt.Sprintf("%s is set neither here nor in [%s%s]; it must be a duration such as 30m", intervalKey, domainPrefix, domain)
	}
	return []responder.Remark{{Section: section, Key: renewalKey, Text: text}}
}
