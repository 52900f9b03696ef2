package secrets

import "bytes"

// refusal answers the first request of in with 503 (RFC 9110 section 15.6.4)
// and has the connection closed; it is a responder.Refusal. It needs no more of
// HTTP than where a request's header ends.
func refusal(in []byte) (reply []byte, takes int) {
	if !bytes.Contains(in, []byte("\r\n\r\n")) {
		return nil, 0
	}
	const text = "The secrets service cannot start; its log says why.\n"
	return []byte("HTTP/1.1 503 Service Unavailable\r\n" +
		"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 52\r\n" +
		"Retry-After: 2\r\nConnection: close\r\n\r\n" + text), -1
}
