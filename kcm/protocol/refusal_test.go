package protocol

import "testing"

func TestARefusalIsAReplyThatClientsUnderstand(t *testing.T) {
	request := AppendRequest(nil, Request{Op: OpGetDefaultCache, Params: []byte("params")})
	for have := range request {
		reply, size := Refusal(request[:have])
		if have < lengthSize {
			if reply != nil || size != 0 {
				t.Errorf("%d bytes are answered", have)
			}
			continue
		}
		if size != len(request) {
			t.Errorf("of %d bytes: size %d, want %d", have, size, len(request))
		}
		got, n, err := CutReply(reply)
		if err != nil || n != len(reply) || got.Outer != Unavailable {
			t.Errorf("reply %+v, %d of %d bytes, %v", got, n, len(reply), err)
		}
	}
	if reply, size := Refusal([]byte{0xff, 0xff, 0xff, 0xff}); reply != nil || size >= 0 {
		t.Errorf("what is no request is answered: %v, %d", reply, size)
	}
}
