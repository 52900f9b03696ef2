package kcm

// A reply up to this size is written in one piece. Of a larger one the
// credentials are sent from where they lie.
const wholeReply = 64 << 10

// replies keeps some buffers for replies that are larger than usual, so that a
// connection need not keep one for itself.
type replies chan []byte

// keptReplies of wholeReply bytes are kept at most: as many as are likely to be
// on their way at a time.
const keptReplies = 16

func newReplies() replies { return make(replies, keptReplies) }

// get returns an empty buffer with room for size bytes.
func (r replies) get(size int) []byte {
	if size <= wholeReply {
		select {
		case b := <-r:
			return b
		default:
			size = wholeReply
		}
	}
	return make([]byte, 0, size)
}

// put takes back a buffer, whose content has been cleared.
func (r replies) put(b []byte) {
	if cap(b) != wholeReply {
		return
	}
	select {
	case r <- b[:0]:
	default:
	}
}
