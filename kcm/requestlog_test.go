package kcm

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"gosssd/kcm/protocol"
	"gosssd/responder/log"
)

// talkative makes clients from now on, and the server, log at a level.
func (r *rig) talkative(level int64) *rig {
	r.mask = log.Mask(level)
	r.server.users.log.SetMask(r.mask)
	return r
}

func TestEveryLineAboutARequestSaysWho(t *testing.T) {
	r := newRig(t, conf{"max_uid_ccaches": "1"}).talkative(6)
	c := r.client(1000)
	c.login("1000:a", "alice")
	c.refused(protocol.Quota, protocol.OpInitialize, name("1000:b"), princ("bob@"+realm))
	c.refused(protocol.End, protocol.OpRetrieve, name("1000:a"), u32(1), credtagOf(service("alice", "host/x")))
	c.refused(protocol.NoFile, protocol.OpGetPrincipal, name("1000:none"))
	c.must(protocol.OpGetCredList, name("1000:a"))
	logged := r.logged.take()
	who := fmt.Sprintf(" uid=1000 pid=%d program=kcm.test cache=", os.Getpid())
	for _, want := range []string{
		"request served: op=REPLACE" + who + "1000:a principal=alice@EXAMPLE.ORG",
		"request refused: op=INITIALIZE" + who + "1000:b principal=bob@EXAMPLE.ORG code=EDQUOT reason=\"max_uid_ccaches is reached\"",
		"request answered with a code: op=RETRIEVE" + who + "1000:a principal=alice@EXAMPLE.ORG code=KRB5_CC_END",
		"request answered with a code: op=GET_PRINCIPAL" + who + "1000:none code=KRB5_FCC_NOFILE",
		"request served: op=GET_CRED_LIST" + who + "1000:a principal=alice@EXAMPLE.ORG",
	} {
		if !strings.Contains(logged, want) {
			t.Errorf("the log lacks\n%s\nin\n%s", want, logged)
		}
	}
}

func TestLevelsAboveSixShowMore(t *testing.T) {
	for level, want := range map[int64]struct{ has, lacks []string }{
		6: {nil, []string{"store: commit", "change: ", "request: "}},
		7: {[]string{"store: load: uid=1000 caches=0", "store: commit: uid=1000 puts=2 deletes=0"}, []string{"change: ", "request: ", "request served: [^(]*took="}},
		8: {[]string{"store: commit", "change: uid=1000 .*waited=.* load=.* decide=.* commit=", "request served: op=REPLACE .*took="}, []string{"request: "}},
		9: {[]string{
			"store: commit", "change: uid=1000 .*commit=",
			`request: op=REPLACE uid=1000 .* cache=1000 offset=7 principal=alice@EXAMPLE.ORG credentials=1 servers="krbtgt/EXAMPLE.ORG@EXAMPLE.ORG until 2027-`,
			"request: op=STORE uid=1000 .* cache=1000 client=alice@EXAMPLE.ORG server=host/a@EXAMPLE.ORG enctype=18 .*end=2027-.*T.*Z .*ticket bytes=",
			"request: op=RETRIEVE uid=1000 .* cache=1000 flags=1 present=3 client=alice@EXAMPLE.ORG server=host/a@EXAMPLE.ORG",
			"request: op=SET_KDC_OFFSET uid=1000 .* cache=1000 offset=-5",
			"request: op=MOVE_CACHE uid=1000 .* cache=1000 to=1000:b",
			"request: op=STORE uid=1000 .*error=",
			"request: op=GET_CRED_BY_UUID uid=1000 .* uuid=00000000-",
			"request: op=CHMOD .*mode=384", "request: op=CHOWN .*owner=1000 group=7", "request: op=29 .*bytes=3", "request: op=NOOP",
		}, nil},
	} {
		t.Run(fmt.Sprint(level), func(t *testing.T) {
			r := newRig(t, nil).talkative(level)
			c := r.client(1000)
			c.must(protocol.OpNoop)
			c.must(protocol.OpReplace, name("1000"), u32(7), princ("alice@"+realm), protocol.AppendCredentialList(nil, [][]byte{tgt("alice")}))
			c.must(protocol.OpStore, name("1000"), service("alice", "host/a"))
			c.must(protocol.OpRetrieve, name("1000"), u32(1), credtagOf(service("alice", "host/a")))
			c.must(protocol.OpSetKDCOffset, name("1000"), u32(1<<32-5))
			c.must(protocol.OpMoveCache, name("1000"), name("1000:b"))
			c.refused(protocol.End, protocol.OpGetCredByUUID, name("1000"), make([]byte, 16))
			c.must(protocol.OpChmod, name("1000:b"), u16(0o600))
			c.must(protocol.OpChown, name("1000:b"), u32(1000), u32(7))
			c.notRun(protocol.BadFormat, protocol.OpStore, name("1000:b"), []byte("rubbish"))
			c.notRun(protocol.NoSupport, 29, []byte("any"))
			logged := r.logged.take()
			for _, pattern := range want.has {
				if !regexp.MustCompile(pattern).MatchString(logged) {
					t.Errorf("the log lacks %s", pattern)
				}
			}
			for _, pattern := range want.lacks {
				if regexp.MustCompile(pattern).MatchString(logged) {
					t.Errorf("the log has %s", pattern)
				}
			}
			if t.Failed() {
				t.Log(logged)
			}
		})
	}
}

func TestNoKeyOrTicketIsLogged(t *testing.T) {
	r := newRig(t, conf{"max_ccache_size": "1"}).talkative(10)
	c := r.client(1000)
	cred := ticket("alice", tgs, 100)
	cred.Key.Key, cred.Ticket, cred.SecondTicket = []byte("SESSIONKEY"), []byte("TICKETBYTES"), []byte("SECONDTICKET")
	cred.AuthData = []protocol.Element{{Type: 1, Data: []byte("AUTHDATA")}}
	tag := protocol.AppendCredtag(nil, protocol.Credtag{Present: 1<<7 - 1, Credential: cred})
	c.must(protocol.OpReplace, name("1000"), u32(0), princ("alice@"+realm), protocol.AppendCredentialList(nil, [][]byte{raw(cred)}))
	c.must(protocol.OpInitialize, name("1000"), princ("alice@"+realm))
	c.must(protocol.OpStore, name("1000"), raw(cred))
	c.must(protocol.OpStore, name("1000"), config("alice", "pa_config_data", "CONFIGVALUE"))
	c.must(protocol.OpRetrieve, name("1000"), u32(0), tag)
	c.must(protocol.OpGetCredList, name("1000"))
	c.notRun(protocol.BadFormat, protocol.OpStore, name("1000"), raw(cred)[:len(raw(cred))-2])
	c.notRun(protocol.NoSupport, protocol.OpAddNTLMCred, []byte("NTLMSECRET"))
	c.must(protocol.OpRemoveCred, name("1000"), u32(0), tag)
	cred.Ticket = bytes.Repeat(cred.Ticket, 200)
	c.refused(protocol.Quota, protocol.OpStore, name("1000"), raw(cred))
	logged := r.logged.String()
	for _, op := range []string{"RETRIEVE", "REPLACE", "STORE", "REMOVE_CRED", "ADD_NTLM_CRED"} {
		if !strings.Contains(logged, "request: op="+op) {
			t.Fatalf("%s is not traced", op)
		}
	}
	for _, secret := range []string{"SESSIONKEY", "TICKETBYTES", "SECONDTICKET", "AUTHDATA", "CONFIGVALUE", "NTLMSECRET"} {
		for _, form := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%d", []byte(secret))} {
			if strings.Contains(logged, form) {
				t.Errorf("the log contains %q", form)
			}
		}
	}
}
