package secrets

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"testing"
)

func TestARefusalIsAnAnswerOfHTTP(t *testing.T) {
	request := []byte("PUT /secrets/x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody")
	if reply, takes := refusal(request[:30]); reply != nil || takes != 0 {
		t.Error("half of a header is answered")
	}
	reply, takes := refusal(request)
	if takes >= 0 {
		t.Error("the connection stays open")
	}
	answer, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(reply)), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if answer.StatusCode != http.StatusServiceUnavailable || !answer.Close || err != nil || int64(len(body)) != answer.ContentLength {
		t.Errorf("%+v, body %q, %v", answer, body, err)
	}
}
