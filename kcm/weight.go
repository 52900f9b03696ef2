package kcm

// What caches take in memory. Their size is that of their records; a ticket of
// some hundred bytes takes as much again for what points into it, and one made
// of many empty parts several times its size. So memory is counted by weight,
// which is the size and what comes on top of it.

// In bytes, rounded up: what the compiler makes of these types, with their
// place in maps and lists.
const (
	cacheExtra      = 1 << 10
	credentialExtra = 512 // a credential and its entry; the key of its record where the store is in memory
	componentExtra  = 24  // of a principal
	elementExtra    = 32  // an address, or authorization data
)

const (
	// residentLimit is how much all caches in memory may take. Beyond it the
	// largest collections leave memory; where there is no other place for them,
	// they may not grow.
	residentLimit = 256 << 20
	// modest is how much a user always gets.
	modest = 1 << 20
	// inFlight is how much the requests and replies of all users may take at a
	// time, and ofOneUser those of one: enough for the largest frame.
	inFlight  = 256 << 20
	ofOneUser = 96 << 20
)

// extra is what a credential takes besides its record.
func (c *credential) extra() int64 {
	components := len(c.Client.Components) + len(c.Server.Components)
	elements := len(c.Addresses) + len(c.AuthData)
	return credentialExtra + componentExtra*int64(components) + elementExtra*int64(elements)
}

// weight is what a credential takes in memory.
func (c *credential) weight() int64 { return int64(len(c.record)) + c.extra() }

// gain counts a credential that is added to the cache, and lose one that goes.
func (c *cache) gain(cred *credential) {
	c.size += int64(len(cred.record))
	c.extra += cred.extra()
}

func (c *cache) lose(cred *credential) {
	c.size -= int64(len(cred.record))
	c.extra -= cred.extra()
}

// weight is what a cache takes in memory.
func (c *cache) weight() int64 { return c.size + c.extra + cacheExtra }

// weight is what all caches of a user take in memory.
func (s *state) weight() (total int64) {
	if s == nil {
		return 0
	}
	for _, c := range s.caches {
		total += c.weight()
	}
	return total
}
