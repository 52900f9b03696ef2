// Package sbus is the private D-Bus of sssd: the message bus the monitor runs
// on a Unix socket, the end of it a responder holds, and every name and
// signature that is spoken there.
//
// The bytes are godbus' business (its EncodeTo and DecodeMessage); who may
// connect, what a message must look like, where it goes and who answers it is
// decided here. Both ends declare what they offer as a list of [Object] and
// share one dispatch, so that introspection, argument checks and error names
// cannot differ between them.
//
// A connection may speak bus style (Hello, names, match rules, as with
// dbus-daemon) or peer style (no Hello, no destination: SSSD 1.16) on the same
// socket. What costs memory or time is bounded for each peer: a peer that
// floods, stalls or lies loses its own connection and nobody else's.
package sbus
