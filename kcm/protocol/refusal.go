package protocol

import "encoding/binary"

// Unavailable is the code with which a server answers that cannot serve at
// all: ECONNREFUSED, which clients print as "Connection refused". None of the
// codes of krb5 says as much, and some make clients try something else.
const Unavailable Code = 111

// Refusal answers the first request of in with Unavailable. It returns the
// reply and the size of the request, of which the end may still be missing; the
// size is 0 if more bytes are needed to know it, and negative if what came can
// not be a request.
func Refusal(in []byte) (reply []byte, size int) {
	if len(in) < lengthSize {
		return nil, 0
	}
	length := binary.BigEndian.Uint32(in)
	if length > MaxFrame {
		return nil, -1
	}
	return AppendReply(nil, Reply{Outer: Unavailable}), lengthSize + int(length)
}
