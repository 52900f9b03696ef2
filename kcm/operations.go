package kcm

import (
	"context"

	"gosssd/kcm/protocol"
)

// access says what a client must be allowed to do with the cache it names.
type access uint8

const (
	nothing access = iota // deny: the operation is not served
	listing               // its own collection, no particular cache
	reading               // the cache, which is its own and has owner read permission
	writing               // the same with write permission
	owning                // its own, whatever the mode
)

// operation is a row of the table of operations.
type operation struct {
	op      protocol.Op
	access  access
	missing protocol.Code // what is answered if there is no such cache
	handler func(*session, context.Context) error
}

// rows is how many operations the table has.
const rows = int(protocol.OpGetNTLMUserList) + 1 + 2

// operations holds 0 to 28 in their order, then 13001 and 13002. A cache that
// is missing has one code, as with FILE caches and Heimdal: clients print "No
// credentials cache found". Only who goes through a list is told that it ends.
var operations = [rows]operation{
	{protocol.OpNoop, listing, 0, (*session).noop},
	{protocol.OpGetName, reading, protocol.NoFile, (*session).getName},
	{protocol.OpResolve, listing, 0, (*session).resolve},
	{protocol.OpGenNew, listing, 0, (*session).genNew},
	{protocol.OpInitialize, writing, protocol.NoFile, (*session).initialize},
	{protocol.OpDestroy, writing, protocol.NoFile, (*session).destroy},
	{protocol.OpStore, writing, protocol.NoFile, (*session).store},
	{protocol.OpRetrieve, reading, protocol.NoFile, (*session).retrieve},
	{protocol.OpGetPrincipal, reading, protocol.NoFile, (*session).getPrincipal},
	{protocol.OpGetCredUUIDList, reading, protocol.NoFile, (*session).getCredUUIDList},
	{protocol.OpGetCredByUUID, reading, protocol.End, (*session).getCredByUUID},
	{protocol.OpRemoveCred, writing, protocol.NoFile, (*session).removeCred},
	{protocol.OpSetFlags, writing, protocol.NoFile, (*session).setFlags},
	{protocol.OpChown, owning, protocol.NoFile, (*session).chown},
	{protocol.OpChmod, owning, protocol.NoFile, (*session).chmod},
	{protocol.OpGetInitialTicket, writing, protocol.NoFile, (*session).getInitialTicket},
	{protocol.OpGetTicket, writing, protocol.NoFile, (*session).getTicket},
	{protocol.OpMoveCache, writing, protocol.NoFile, (*session).moveCache},
	{protocol.OpGetCacheUUIDList, listing, protocol.NoFile, (*session).getCacheUUIDList},
	{protocol.OpGetCacheByUUID, listing, protocol.End, (*session).getCacheByUUID},
	{protocol.OpGetDefaultCache, listing, 0, (*session).getDefaultCache},
	{protocol.OpSetDefaultCache, owning, protocol.NoFile, (*session).setDefaultCache},
	{protocol.OpGetKDCOffset, reading, protocol.NoFile, (*session).getKDCOffset},
	{protocol.OpSetKDCOffset, writing, protocol.NoFile, (*session).setKDCOffset},
	{op: protocol.OpAddNTLMCred}, // this and the next four need NTLM secrets
	{op: protocol.OpHaveNTLMCred},
	{op: protocol.OpDelNTLMCred},
	{op: protocol.OpDoNTLMAuth},
	{op: protocol.OpGetNTLMUserList},
	{protocol.OpGetCredList, reading, protocol.NoFile, (*session).getCredList},
	{protocol.OpReplace, writing, protocol.NoFile, (*session).replace},
}

// unknown stands for every operation that is not in the table, by a number that
// none has.
var unknown = operation{op: 0xffff}

// rowOf returns the number of op's row, rows if it has none.
func rowOf(op protocol.Op) int {
	switch {
	case op <= protocol.OpGetNTLMUserList:
		return int(op)
	case op == protocol.OpGetCredList || op == protocol.OpReplace:
		return int(protocol.OpGetNTLMUserList + 1 + op - protocol.OpGetCredList)
	}
	return rows
}

// operationOf returns the row of op.
func operationOf(op protocol.Op) *operation {
	if row := rowOf(op); row < rows {
		return &operations[row]
	}
	return &unknown
}

func (o *operation) run(ctx context.Context, s *session) error {
	if o.access == nothing {
		return errUnsupported
	}
	return o.handler(s, ctx)
}

// defaultMode is the mode of a new cache: the owner reads and writes.
const defaultMode = 0o600

const (
	ownerReads  = 0o400
	ownerWrites = 0o200
)

// permit checks what the operation does to c against its mode. That c is in a
// collection the client may see has been decided before: for a user, only the
// own one. Group and others have no way to a cache, so only the owner's bits
// mean something.
func (s *session) permit(c *cache) error {
	if s.peer.UID == rootUID {
		return nil
	}
	switch s.op.access {
	case owning:
		return nil
	case reading:
		if c.mode&ownerReads != 0 {
			return nil
		}
	case writing:
		if c.mode&ownerWrites != 0 {
			return nil
		}
	}
	return errMode
}
