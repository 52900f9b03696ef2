package protocol

import "fmt"

// Probe is a request that succeeds wherever a server is well: it has the
// caller's caches looked at, and changes nothing.
func Probe() []byte {
	return AppendRequest(nil, Request{Op: OpGetDefaultCache})
}

// ProbeAnswer reports whether in is the whole reply to Probe, and what it says
// is wrong.
func ProbeAnswer(in []byte) (whole bool, err error) {
	reply, size, err := CutReply(in)
	switch {
	case err != nil:
		return true, fmt.Errorf("its answer cannot be read: %w", err)
	case size == 0:
		return false, nil
	case reply.Outer != OK:
		return true, fmt.Errorf("requests fail with %v", reply.Outer)
	case reply.Inner != OK:
		return true, fmt.Errorf("requests fail with %v", reply.Inner)
	}
	return true, nil
}
