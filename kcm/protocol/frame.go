// Package protocol holds the codecs of the KCM protocol: frames, principals,
// credentials, matching credentials, flags and codes. It is bytes in, values
// out: no input or output, no log, no clock.
//
// The protocol came with Heimdal's kcm and was extended by MIT (include/kcm.h
// of krb5 names the two sub-sets). Principals and credentials are written as
// in version 4 of the FILE ccache, see krb5's doc/formats/ccache_file_format.
package protocol

import "encoding/binary"

// Limits and fixed values of a frame.
const (
	MaxFrame     = 10 << 20 // bytes of a request or reply after its length, both ways; MIT's client refuses more
	MajorVersion = 2
	MinorVersion = 0

	lengthSize      = 4
	requestHeader   = 4 // major, minor, opcode
	replyHeader     = 8 // length, outer code
	innerCodeSize   = 4
	shortestRequest = requestHeader
)

// MaxReply is the size of the largest reply with its header.
const MaxReply = replyHeader + MaxFrame

// Request is one call of a client.
type Request struct {
	Op     Op
	Params []byte
}

// CutRequest looks for a whole frame at the beginning of b. It returns the
// frame's body and the number of bytes the frame takes; size is 0 while more
// bytes are needed to know it, and body is nil until all of them are there.
// A frame that announces more than MaxFrame is ErrTooLong: nothing after it
// can be trusted to be a frame.
func CutRequest(b []byte) (body []byte, size int, err error) {
	if len(b) < lengthSize {
		return nil, 0, nil
	}
	length := binary.BigEndian.Uint32(b)
	if length > MaxFrame {
		return nil, 0, ErrTooLong
	}
	size = lengthSize + int(length)
	if len(b) < size {
		return nil, size, nil
	}
	return b[lengthSize:size:size], size, nil
}

// NameOfNext names the operation of the frame at the beginning of b, or says
// that it is not known.
func NameOfNext(b []byte) string {
	if len(b) < lengthSize+requestHeader || b[lengthSize] != MajorVersion || b[lengthSize+1] != MinorVersion {
		return "unknown"
	}
	return Op(binary.BigEndian.Uint16(b[lengthSize+2:])).String()
}

// ParseRequest reads the body of a frame. Params shares the bytes of body.
func ParseRequest(body []byte) (Request, error) {
	if len(body) < shortestRequest || body[0] != MajorVersion || body[1] != MinorVersion {
		return Request{}, ErrVersion
	}
	return Request{Op: Op(binary.BigEndian.Uint16(body[2:])), Params: body[requestHeader:]}, nil
}

// AppendRequest appends the frame of r.
func AppendRequest(b []byte, r Request) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(requestHeader+len(r.Params)))
	b = append(b, MajorVersion, MinorVersion)
	b = binary.BigEndian.AppendUint16(b, uint16(r.Op))
	return append(b, r.Params...)
}

// Reply is the answer to one request. Inner and Results exist only where
// Outer is 0: MIT's client does not read the body of a reply whose outer code
// is set, so such a reply has none.
type Reply struct {
	Outer   Code // what kept the request from being run
	Inner   Code // what the operation decided
	Results []byte
}

// BeginReply appends room for the header and inner code of a reply, so that
// the results can be written right behind it.
func BeginReply(b []byte) []byte {
	return append(b, make([]byte, replyHeader+innerCodeSize)...)
}

// EndReply completes the reply that BeginReply began at start: successful,
// with everything behind as its results, and more bytes that follow b.
func EndReply(b []byte, start, more int) {
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-replyHeader+more))
}

// AppendReply appends the frame of r.
func AppendReply(b []byte, r Reply) []byte {
	if r.Outer != 0 {
		b = binary.BigEndian.AppendUint32(b, 0)
		return binary.BigEndian.AppendUint32(b, uint32(r.Outer))
	}
	b = binary.BigEndian.AppendUint32(b, uint32(innerCodeSize+len(r.Results)))
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(r.Inner))
	return append(b, r.Results...)
}

// CutReply looks for a whole reply at the beginning of b and returns it with
// the number of bytes it takes; size is 0 while bytes are missing. It reads
// what any server sends: the body of a reply with an outer code, which
// Heimdal's kcm has, is skipped.
func CutReply(b []byte) (r Reply, size int, err error) {
	if len(b) < replyHeader {
		return Reply{}, 0, nil
	}
	length := binary.BigEndian.Uint32(b)
	if length > MaxFrame {
		return Reply{}, 0, ErrTooLong
	}
	size = replyHeader + int(length)
	if len(b) < size {
		return Reply{}, 0, nil
	}
	if outer := Code(binary.BigEndian.Uint32(b[lengthSize:])); outer != 0 {
		return Reply{Outer: outer}, size, nil
	}
	if length < innerCodeSize {
		return Reply{}, size, ErrMalformed
	}
	inner := Code(binary.BigEndian.Uint32(b[replyHeader:]))
	return Reply{Inner: inner, Results: b[replyHeader+innerCodeSize : size : size]}, size, nil
}
