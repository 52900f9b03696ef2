// Package kcm is the responder that keeps Kerberos credential caches for every
// program that speaks the KCM protocol.
//
// A request walks from Server.Serve through the frame reader, the op table and
// one handler. Reads are served from the published state of the user's
// collection; a change is made on a copy of it, committed through the Store,
// and published.
package kcm

import (
	"slices"
	"time"

	"gosssd/confdb"
	"gosssd/kcm/protocol"
	"gosssd/layout"
	"gosssd/responder"
)

// The words of ccache_storage.
const (
	StorageSecrets = "secrets" // the secrets service
	StorageSecdb   = "secdb"   // its database, opened in this process
	StorageMemory  = "memory"  // nothing outlives the process
)

const section = "kcm"

// DefaultSocket is where krb5's clients look for a KCM server.
const DefaultSocket = "/var/run/.heim_org.h5l.kcm-socket"

// Descriptor declares the responder and every option of its section.
func Descriptor() responder.Descriptor {
	return responder.Descriptor{
		Name:         "kcm",
		Socket:       DefaultSocket,
		SocketOption: "socket_path",
		SocketMode:   0o666,
		Signals:      signals(),
		Methods:      methods(),
		Check:        check,
		Needs:        needsSecrets,
		Advise:       adviseSessions,
		Changed:      storageChange,
		Unasked:      worksUnasked,
		Refusal:      protocol.Refusal,
		Probe:        responder.Probe{Request: protocol.Probe(), Answer: protocol.ProbeAnswer},
		Sections: []confdb.Section{{
			Name:    section,
			Text:    "The Kerberos credential cache server",
			Options: slices.Concat(options(), renewalOptions(), hookOptions(), ticketsOptions()),
		}, responder.IdentitySection(section), inheritedSection()},
	}
}

// needsSecrets says that caches are kept by the secrets service although the
// units do not start its socket: they do where that is the default.
func needsSecrets(conf *confdb.Snapshot) (other, key string) {
	const storage = "ccache_storage"
	if conf.Section(section).String(storage) != StorageSecrets || layout.Current().Storage == StorageSecrets {
		return "", ""
	}
	return "secrets", storage
}

// worksUnasked reports whether there is work for the responder although no client
// has come: tickets from before a restart become due, or expire, or end
// with a login session.
func worksUnasked(conf *confdb.Snapshot) bool {
	return renewsTickets(conf) || hooksTickets(conf) || bindsSessions(conf)
}

// check says what is wrong with options whose values are right by themselves.
func check(conf *confdb.Snapshot) []responder.Remark {
	return slices.Concat(checkRenewal(conf), checkHook(conf), checkGuard(conf))
}

func options() []confdb.Option {
	return []confdb.Option{
		{Key: "socket_path", Kind: confdb.Path, Default: DefaultSocket,
			Text: "Where the responder listens, unless systemd holds the socket"},
		// Heimdal's library never makes a second connection.
		{Key: "client_idle_timeout", Kind: confdb.Int, Default: "0", Unit: "s", Min: 10, ZeroToo: true, Clamp: true, Live: true,
			Text: "How long a client may be silent before it is disconnected; 0 is until file descriptors run short, for Heimdal's programs do not connect again"},
		{Key: "ccache_storage", Kind: confdb.Word, Default: layout.Current().Storage, Words: []string{StorageSecrets, StorageSecdb, StorageMemory},
			Text: "Where caches are kept: by the secrets service, in a database of this responder, or in memory only"},
		{Key: "max_ccaches", Kind: confdb.Int, Default: "0", Live: true,
			Text: "How many caches all users together may have; 0 is without limit"},
		{Key: "max_uid_ccaches", Kind: confdb.Int, Default: "64", Live: true,
			Text: "How many caches one user may have; 0 is without limit"},
		{Key: "max_ccache_size", Kind: confdb.Int, Default: "65536", Unit: "KiB", Live: true,
			Text: "How large one cache may be; 0 is without limit"},
		{Key: "max_ccache_credentials", Kind: confdb.Int, Default: "4096", Live: true,
			Text: "How many credentials one cache may have; 0 is without limit"},
		{Key: "max_uid_ccache_size", Kind: confdb.Int, Default: "65536", Unit: "KiB", Live: true,
			Text: "How much memory all caches of one user may take, at some 600 bytes for each credential besides its own; 0 is without limit"},
		{Key: "purge_expired_credentials_interval", Kind: confdb.Duration, Default: "600", Unit: "s", Live: true,
			Text: "How often expired credentials and caches are removed; 0 is never"},
		{Key: "purge_expired_grace", Kind: confdb.Duration, Default: "86400", Unit: "s", Live: true,
			Text: "How long an expired cache keeps its principal, so that kinit still knows whose it was; the default cache is emptied then and stays"},
		sessionsOption(),
		systemBusOption(),
		{Key: "containers_nest_level", Kind: confdb.Int, Default: "4",
			NotServed: "caches are not nested in containers; [secrets/kcm] has the option of the secrets service",
			Text:      "Not served: how deep containers may be nested"},
	}
}

// settings are the live options.
type settings struct {
	maxCaches      int   // of all users; 0: no limit, as for the next four
	maxUserCaches  int   // of one user
	maxCacheSize   int64 // bytes
	maxCredentials int   // of one cache
	maxUserSize    int64 // bytes in memory
	purgeInterval  time.Duration
	purgeGrace     time.Duration
}

func settingsOf(conf *confdb.Snapshot) *settings {
	options := conf.Section(section)
	return &settings{
		maxCaches:      int(options.Int("max_ccaches")),
		maxUserCaches:  int(options.Int("max_uid_ccaches")),
		maxCacheSize:   options.Int("max_ccache_size") << 10,
		maxCredentials: int(options.Int("max_ccache_credentials")),
		maxUserSize:    options.Int("max_uid_ccache_size") << 10,
		purgeInterval:  options.Duration("purge_expired_credentials_interval"),
		purgeGrace:     options.Duration("purge_expired_grace"),
	}
}
