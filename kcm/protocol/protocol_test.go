package protocol

import (
	"bytes"
	"errors"
	"syscall"
	"testing"
)

func principal(realm string, components ...string) Principal {
	p := Principal{Type: 1, Realm: []byte(realm)}
	for _, c := range components {
		p.Components = append(p.Components, []byte(c))
	}
	return p
}

func ticket() Credential {
	return Credential{
		Client:       principal("EXAMPLE.ORG", "alice"),
		Server:       principal("EXAMPLE.ORG", "host", "server.example.org"),
		Key:          Keyblock{Enctype: 18, Key: bytes.Repeat([]byte{7}, 32)},
		Times:        Times{Auth: 1000, Start: 1001, End: 5000, RenewTill: 9000},
		TicketFlags:  0x50800000,
		Addresses:    []Element{{Type: 2, Data: []byte{127, 0, 0, 1}}},
		AuthData:     []Element{{Type: -1, Data: []byte("limits")}, {Type: 128}},
		Ticket:       []byte("ticket"),
		SecondTicket: nil,
	}
}

func TestFrame(t *testing.T) {
	frame := AppendRequest(nil, Request{Op: OpGetName, Params: []byte("1000\x00")})
	want := "\x00\x00\x00\x09\x02\x00\x00\x011000\x00"
	if string(frame) != want {
		t.Fatalf("request is %q, want %q", frame, want)
	}
	for n := range len(frame) {
		if body, _, err := CutRequest(frame[:n]); body != nil || err != nil {
			t.Fatalf("%d bytes of a frame are cut to %q, %v", n, body, err)
		}
	}
	if _, _, err := CutRequest([]byte{0, 0xa0, 0, 1}); !errors.Is(err, ErrTooLong) {
		t.Fatalf("a frame of 10 MiB and a byte gives %v", err)
	}
	if _, size, err := CutRequest([]byte{0, 0xa0, 0, 0}); err != nil || size != MaxFrame+4 {
		t.Fatalf("a frame of 10 MiB gives %d, %v", size, err)
	}
}

func TestReply(t *testing.T) {
	tests := map[string]struct {
		reply Reply
		want  string
	}{
		"a result":                          {Reply{Results: []byte("1000\x00")}, "\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x001000\x00"},
		"success without a result":          {Reply{}, "\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00"},
		"a code of the operation":           {Reply{Inner: NoFile}, "\x00\x00\x00\x04\x00\x00\x00\x00\x96\xc7\x3a\xc3"},
		"an outer code stands without body": {Reply{Outer: NoSupport, Results: []byte("lost")}, "\x00\x00\x00\x00\x96\xc7\x3a\xf7"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := AppendReply(nil, test.reply); string(got) != test.want {
				t.Errorf("printed %q, want %q", got, test.want)
			}
			b := append(BeginReply([]byte("kept")), test.reply.Results...)
			if EndReply(b, 4, 0); test.reply.Inner == 0 && test.reply.Outer == 0 && string(b) != "kept"+test.want {
				t.Errorf("built in place %q, want %q", b[4:], test.want)
			}
		})
	}
}

func TestCodesAreThoseOfKrb5(t *testing.T) {
	for code, want := range map[Code]uint32{
		BadName: 0x96C73A8B, NotFound: 0x96C73A8D, End: 0x96C73A8E, CCIO: 0x96C73AC1, Perm: 0x96C73AC2, NoFile: 0x96C73AC3,
		Internal: 0x96C73AC4, WriteFailed: 0x96C73AC5, BadFormat: 0x96C73AC7, NoSupport: 0x96C73AF7,
		IOError: uint32(syscall.EIO), Exists: uint32(syscall.EEXIST), DiskFull: uint32(syscall.ENOSPC), TooLong: uint32(syscall.EMSGSIZE), Quota: uint32(syscall.EDQUOT),
	} {
		if uint32(code) != want {
			t.Errorf("%v is %08X, want %08X", code, uint32(code), want)
		}
		if found, ok := CodeByName(code.String()); !ok || found != code {
			t.Errorf("%v is not found by its name", code)
		}
	}
}

func TestPrincipalText(t *testing.T) {
	for want, p := range map[string]Principal{
		"alice@EXAMPLE.ORG":              principal("EXAMPLE.ORG", "alice"),
		"host/server.example.org@REALM":  principal("REALM", "host", "server.example.org"),
		`a\/b\@c\\d\0\n/e@R\@S`:          principal("R@S", "a/b@c\\d\x00\n", "e"),
		"@REALM":                         principal("REALM"),
		"krbtgt/EXAMPLE.ORG@EXAMPLE.ORG": principal("EXAMPLE.ORG", "krbtgt", "EXAMPLE.ORG"),
	} {
		if got := p.String(); got != want {
			t.Errorf("text is %q, want %q", got, want)
		}
	}
}

func TestMalformedIsRefused(t *testing.T) {
	whole := AppendCredential(nil, ticket())
	for n := range len(whole) {
		if _, err := ParseCredential(whole[:n]); !errors.Is(err, ErrMalformed) {
			t.Fatalf("%d of %d bytes of a credential give %v", n, len(whole), err)
		}
	}
	if _, err := ParseCredential(append(whole, 0)); !errors.Is(err, ErrMalformed) {
		t.Errorf("a byte behind a credential gives %v", err)
	}
	many := Principal{Components: make([][]byte, MaxItems+1)}
	r := NewReader(AppendPrincipal(nil, many))
	if r.Principal(); !errors.Is(r.Err(), ErrMalformed) {
		t.Errorf("%d components give %v", MaxItems+1, r.Err())
	}
	r = NewReader([]byte("no end"))
	if name := r.Name(); name != nil || !errors.Is(r.Err(), ErrMalformed) {
		t.Errorf("a name without NUL gives %q, %v", name, r.Err())
	}
}

func TestMatch(t *testing.T) {
	server := Credtag{Present: HasServer, Credential: Credential{Server: principal("EXAMPLE.ORG", "host", "server.example.org")}}
	with := func(flags Flags, change func(tag *Credtag, c *Credential)) func() (Credtag, Credential, Flags) {
		return func() (Credtag, Credential, Flags) {
			tag, c := server, ticket()
			change(&tag, &c)
			return tag, c, flags
		}
	}
	tests := map[string]struct {
		given func() (Credtag, Credential, Flags)
		want  bool
	}{
		"the server agrees":     {with(0, func(*Credtag, *Credential) {}), true},
		"nothing is asked for":  {with(0, func(tag *Credtag, _ *Credential) { *tag = Credtag{} }), true},
		"the server is another": {with(0, func(_ *Credtag, c *Credential) { c.Server = principal("EXAMPLE.ORG", "nfs", "server.example.org") }), false},
		"the server has a component more": {with(0, func(_ *Credtag, c *Credential) {
			c.Server = principal("EXAMPLE.ORG", "host", "server.example.org", "x")
		}), false},
		"the name type does not matter":      {with(0, func(_ *Credtag, c *Credential) { c.Server.Type = 3 }), true},
		"the server's realm is another":      {with(0, func(_ *Credtag, c *Credential) { c.Server.Realm = []byte("OTHER") }), false},
		"the server's realm does not matter": {with(MatchServerName, func(_ *Credtag, c *Credential) { c.Server.Realm = []byte("OTHER") }), true},
		"no realm matters":                   {with(DontMatchRealm, func(_ *Credtag, c *Credential) { c.Server.Realm = []byte("OTHER") }), true},
		"the client is another": {with(0, func(tag *Credtag, _ *Credential) {
			tag.Present |= HasClient
			tag.Client = principal("EXAMPLE.ORG", "bob")
		}), false},
		"the client's realm matters without a server's":   {with(MatchServerName, func(tag *Credtag, _ *Credential) { tag.Present |= HasClient; tag.Client = principal("OTHER", "alice") }), false},
		"a user-to-user ticket was not asked for":         {with(0, func(_ *Credtag, c *Credential) { c.IsSkey = 1 }), false},
		"a user-to-user ticket is not asked for by value": {with(0, func(tag *Credtag, c *Credential) { c.IsSkey, tag.IsSkey = 1, 1 }), false},
		"a user-to-user ticket was asked for":             {with(MatchIsSkey, func(tag *Credtag, c *Credential) { c.IsSkey, tag.IsSkey = 1, 1 }), true},
		"a user-to-user ticket is there only ordinary":    {with(MatchIsSkey, func(tag *Credtag, _ *Credential) { tag.IsSkey = 1 }), false},
		"it lasts long enough":                            {with(MatchTimes, func(tag *Credtag, _ *Credential) { tag.Times.End = 5000 }), true},
		"it does not last long enough":                    {with(MatchTimes, func(tag *Credtag, _ *Credential) { tag.Times.End = 5001 }), false},
		"it is not renewable long enough":                 {with(MatchTimes, func(tag *Credtag, _ *Credential) { tag.Times.RenewTill = 9001 }), false},
		"how long it lasts does not matter":               {with(0, func(tag *Credtag, _ *Credential) { tag.Times.End = 5001 }), true},
		"the times are not the same":                      {with(MatchTimesExact, func(tag *Credtag, c *Credential) { tag.Times = c.Times; tag.Times.Start++ }), false},
		"the times are the same":                          {with(MatchTimesExact, func(tag *Credtag, c *Credential) { tag.Times = c.Times }), true},
		"it has the flags asked for and others":           {with(MatchFlags, func(tag *Credtag, _ *Credential) { tag.TicketFlags = 0x40000000 }), true},
		"it lacks a flag":                                 {with(MatchFlags, func(tag *Credtag, _ *Credential) { tag.TicketFlags = 0x40000001 }), false},
		"the flags are not the same":                      {with(MatchFlagsExact, func(tag *Credtag, _ *Credential) { tag.TicketFlags = 0x40000000 }), false},
		"the authorization data is the same":              {with(MatchAuthData, func(tag *Credtag, c *Credential) { tag.AuthData = c.AuthData }), true},
		"the authorization data is in another order":      {with(MatchAuthData, func(tag *Credtag, c *Credential) { tag.AuthData = []Element{c.AuthData[1], c.AuthData[0]} }), false},
		"no authorization data is asked for":              {with(MatchAuthData, func(_ *Credtag, _ *Credential) {}), false},
		"the second ticket is another":                    {with(MatchSecond, func(tag *Credtag, _ *Credential) { tag.SecondTicket = []byte("x") }), false},
		"the second ticket is the same":                   {with(MatchSecond, func(tag *Credtag, c *Credential) { c.SecondTicket, tag.SecondTicket = []byte("x"), []byte("x") }), true},
		"the key is of the type asked for":                {with(MatchKeytype, func(tag *Credtag, _ *Credential) { tag.Key.Enctype = 18 }), true},
		"the key is of another type":                      {with(MatchKeytype, func(tag *Credtag, _ *Credential) { tag.Key.Enctype = 17 }), false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			tag, c, flags := test.given()
			if got := tag.Matches(&c, flags); got != test.want {
				t.Errorf("matches: %v, want %v", got, test.want)
			}
		})
	}
}

func TestRemoveFlagsTakesTheWordsOfOldClients(t *testing.T) {
	for name, test := range map[string]struct {
		word uint32
		want Flags
	}{
		"no flags":                        {0, 0},
		"flags of the protocol":           {1<<24 | 1<<22, MatchAuthData | MatchIsSkey},
		"flags of the protocol and a KDC": {1<<24 | 1, MatchAuthData | CachedOnly},
		"MIT's MATCH_TIMES":               {1, MatchTimes},
		"MIT's MATCH_IS_SKEY and 2ND_TKT": {0x82, MatchIsSkey | MatchSecond},
		"MIT's MATCH_SRV_NAMEONLY":        {0x40, MatchServerName},
		"MIT's MATCH_KTYPE":               {0x100, MatchKeytype},
		"MIT's SUPPORTED_KTYPES":          {0x200, 0},
	} {
		if got := RemoveFlags(test.word); got != test.want {
			t.Errorf("%s: %#x means %#x, want %#x", name, test.word, got, test.want)
		}
	}
}

func TestOperationsHaveNames(t *testing.T) {
	for op, name := range opNames {
		if found, ok := OpByName(name); !ok || found != op {
			t.Errorf("%s is found as %d, %v", name, found, ok)
		}
	}
	if got := Op(4711).String(); got != "4711" {
		t.Errorf("an operation without a name is called %q", got)
	}
}
