package ldb

import (
	"errors"
	"fmt"

	"gosssd/kcm/protocol"
)

// decode reads the value of a cache (SSSD's kcmsrv_ccache_binary.c): offset,
// principal and credentials, each credential behind a UUID and its length.
// SSSD writes more bytes than the content has; those behind it are memory of
// its process and mean nothing.
func decode(value []byte) (Cache, error) {
	r := reader{rest: value}
	var c Cache
	c.Offset = int32(r.uint32())
	switch r.uint8() {
	case 0:
	case 1:
		principal, err := r.principal()
		if err != nil {
			return Cache{}, err
		}
		c.Principal = protocol.AppendPrincipal(nil, principal)
	default:
		return Cache{}, errors.New("neither with nor without a principal")
	}
	for n, i := r.uint32(), uint32(0); i < n && r.err == nil; i++ {
		r.take(uint32(len(protocol.UUID{})))
		raw := r.data()
		if r.err != nil {
			break
		}
		if _, err := protocol.ParseCredential(raw); err != nil {
			return Cache{}, fmt.Errorf("credential %d: %w", i+1, err)
		}
		c.Credentials = append(c.Credentials, raw)
	}
	if r.err != nil {
		return Cache{}, fmt.Errorf("value of %d bytes: %w", len(value), r.err)
	}
	return c, nil
}

// principal reads a principal: the realm before the type, unlike elsewhere.
func (r *reader) principal() (protocol.Principal, error) {
	p := protocol.Principal{Realm: r.data(), Type: int32(r.uint32())}
	components := r.uint32()
	if components > protocol.MaxItems {
		return p, fmt.Errorf("a principal of %d components", components)
	}
	for ; components > 0 && r.err == nil; components-- {
		p.Components = append(p.Components, r.data())
	}
	return p, r.err
}
