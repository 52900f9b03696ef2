package secrets

import (
	"bytes"
	"fmt"

	"gosssd/responder"
)

// probe lists the caller's secrets: whoever has none gets 404, which is as good
// an answer.
func probe() responder.Probe {
	return responder.Probe{
		Request: []byte("GET /secrets/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"),
		Answer: func(in []byte) (whole bool, err error) {
			line, _, found := bytes.Cut(in, []byte("\r\n"))
			if !found {
				return false, nil
			}
			var major, minor, status int
			if _, err := fmt.Sscanf(string(line), "HTTP/%d.%d %d", &major, &minor, &status); err != nil {
				return true, fmt.Errorf("its answer is not HTTP: %q", line)
			}
			if status >= 500 {
				return true, fmt.Errorf("requests fail with status %d", status)
			}
			return true, nil
		},
	}
}
