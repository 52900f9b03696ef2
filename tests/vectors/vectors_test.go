package vectors

import (
	"net"
	"strings"
	"testing"
	"time"

	"gosssd/kcm/protocol"
)

func TestEveryRequestHasAReply(t *testing.T) {
	cases, err := All()
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) < 30 {
		t.Errorf("only %d cases are found", len(cases))
	}
	names := map[string]bool{}
	for _, c := range cases {
		if names[c.Name] {
			t.Errorf("two cases are called %q", c.Name)
		}
		names[c.Name] = true
		for _, s := range c.steps {
			if s.request != nil && len(s.replies[""].words) == 0 {
				t.Errorf("%s:%d has no reply", c.File, s.line)
			}
		}
	}
	if len(Differences(cases, "sssd-2.8.2")) == 0 {
		t.Error("no difference of SSSD is found")
	}
}

func TestMistakesInAFileAreFound(t *testing.T) {
	for what, text := range map[string]string{
		"a step before the first case":    "as one",
		"a word that is not known":        "case x\nfoo",
		"a reply without a request":       "case x\n< ok",
		"a peer's reply without a reason": "case x\n> NOOP\n<heimdal ok",
		"a field that is not known":       "cred a foo=1",
		"a fill without credentials":      "case x\nfill name:a princ:b@C",
		"a number that is none":           "cred a etype=x",
	} {
		if _, err := parse("file", text, &peers{lacks: map[string]reply{}}); err == nil {
			t.Errorf("%s is not found", what)
		}
	}
}

// TestAWrongReplyIsFound runs cases against a server that answers everything
// with the same reply.
func TestAWrongReplyIsFound(t *testing.T) {
	code := protocol.AppendReply(nil, protocol.Reply{Inner: protocol.NoFile})
	name := protocol.AppendReply(nil, protocol.Reply{Results: []byte("1000\x00")})
	outer := protocol.AppendReply(nil, protocol.Reply{Outer: protocol.NoSupport})
	tests := map[string]struct {
		text  string
		reply []byte
		wrong string // part of the error; "" if there must be none
	}{
		"the name agrees":                      {"> GET_DEFAULT_CACHE\n< ok name:{one}", name, ""},
		"the name is captured and comes again": {"> GEN_NEW\n< ok name:$n\n> GEN_NEW\n< ok name:$n", name, ""},
		"any rest will do":                     {"> GEN_NEW\n< ok rest", name, ""},
		"the name is another":                  {"> GET_DEFAULT_CACHE\n< ok name:{two}", name, "expected name:{two}"},
		"results are missing":                  {"> GET_DEFAULT_CACHE\n< ok name:{one} u8:0", name, "expected u8:0"},
		"results are too many":                 {"> NOOP\n< ok", name, "too many"},
		"the code agrees":                      {"> NOOP\n< inner KRB5_FCC_NOFILE", code, ""},
		"the code is another":                  {"> NOOP\n< inner KRB5_CC_END", code, "expected inner KRB5_CC_END"},
		"the code is in the wrong place":       {"> NOOP\n< outer KRB5_FCC_NOFILE", code, "expected outer"},
		"an outer code agrees":                 {"> NOOP\n< outer KRB5_CC_NOSUPP", outer, ""},
		"an outer code is not an inner one":    {"> NOOP\n< inner KRB5_CC_NOSUPP", outer, "expected inner"},
		"success was expected":                 {"> NOOP\n< ok", code, "expected success"},
		"the connection was to be closed":      {"> NOOP\n< closed", code, "to be closed"},
		"a peer's reply is not this server's":  {"> NOOP\n< ok\n<peer inner KRB5_FCC_NOFILE -- why", code, "expected success"},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			cases, err := parse("file", "case x\nas one\n"+test.text, &peers{})
			if err != nil {
				t.Fatal(err)
			}
			err = cases[0].Run(Server{
				UIDs: map[string]uint32{"one": 1000, "two": 1001}, Now: time.Now,
				Dial: func(string) (net.Conn, error) { return constant(t, test.reply), nil },
			})
			switch {
			case test.wrong == "" && err != nil:
				t.Error(err)
			case test.wrong != "" && (err == nil || !strings.Contains(err.Error(), test.wrong)):
				t.Errorf("error %v, want %q in it", err, test.wrong)
			}
		})
	}
}

// constant is a server of one reply.
func constant(t *testing.T, reply []byte) net.Conn {
	near, far := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		request := make([]byte, 1<<10)
		for {
			if _, err := far.Read(request); err != nil {
				return
			}
			if _, err := far.Write(reply); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		near.Close()
		<-done
		far.Close()
	})
	return near
}
