package kcm

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"gosssd/kcm/protocol"
	"gosssd/responder"
	"gosssd/responder/log"
)

// decisions are the errors of errors.go, and whether each leaves a line at the
// default level.
var decisions = map[string]struct {
	err   error
	level severity
	code  string
}{
	"errNoCache":      {errNoCache, ordinary, ""},
	"errNotTheirs":    {errNotTheirs, refused, "KRB5_FCC_NOFILE"},
	"errNoPrincipal":  {errNoPrincipal, ordinary, ""},
	"errNoCaches":     {errNoCaches, ordinary, ""},
	"errNoSuchID":     {errNoSuchID, ordinary, ""},
	"errNoneFound":    {errNoneFound, ordinary, ""},
	"errNoneRemoved":  {errNoneRemoved, ordinary, ""},
	"errName":         {errName, refused, "KRB5_CC_BADNAME"},
	"errOtherUser":    {errOtherUser, refused, "KRB5_CC_BADNAME"},
	"errNameTaken":    {errNameTaken, refused, protocol.Exists.String()},
	"errMode":         {errMode, refused, protocol.Perm.String()},
	"errNoTGT":        {errNoTGT, ordinary, ""},
	"errGuarded":      {errGuarded, refused, protocol.Denied.String()},
	"errNotOwner":     {errNotOwner, refused, protocol.Perm.String()},
	"errUserFull":     {errUserFull, refused, "EDQUOT"},
	"errFull":         {errFull, refused, "EDQUOT"},
	"errCacheTooBig":  {errCacheTooBig, refused, "EDQUOT"},
	"errTooManyCreds": {errTooManyCreds, refused, "EDQUOT"},
	"errUserTooBig":   {errUserTooBig, refused, "EDQUOT"},
	"errMemoryFull":   {errMemoryFull, refused, "EDQUOT"},
	"errReplyTooLong": {errReplyTooLong, refused, protocol.TooLong.String()},
	"errUnsupported":  {errUnsupported, ordinary, ""},
	"errOneByOne":     {errOneByOne, ordinary, ""},
	"errAskOffset":    {errAskOffset, ordinary, ""},
	"errOrphan":       {&unreadable{errOrphan}, failed, protocol.IOError.String()}, // of a record, not of a request

	"malformed":        {fmt.Errorf("x: %w", protocol.ErrMalformed), refused, protocol.BadFormat.String()},
	"the store's":      {&unwritten{quotaError{}}, refused, "EDQUOT"},
	"unreadable":       {&unreadable{errDisk}, failed, protocol.IOError.String()},
	"unwritten":        {&unwritten{errDisk}, failed, protocol.WriteFailed.String()},
	"the disk is full": {&unwritten{syscall.ENOSPC}, failed, protocol.DiskFull.String()},
}

func TestEveryRefusalLeavesOneLine(t *testing.T) {
	for _, name := range declaredErrors(t, "errors.go") {
		if _, known := decisions[name]; !known {
			t.Errorf("%s: is it a refusal? The test does not know", name)
		}
	}
	const levelTwo = 2
	for name, d := range decisions {
		r := newRig(t, nil)
		s := newSession(r.server, responder.Peer{UID: 1000, PID: int32(os.Getpid())}, log.To(r.logged, log.Mask(levelTwo)))
		op := operation{op: protocol.OpStore, access: listing, missing: protocol.NoFile, handler: func(s *session, _ context.Context) error {
			s.name, s.about.principal = []byte("1000:a\nforged"), princ("alice@"+realm)
			return d.err
		}}
		s.out = protocol.BeginReply(nil)
		s.op = &op
		err := op.run(context.Background(), s)
		reply, severity := replyFor(&op, err)
		s.logUnserved(op.op, err, reply, severity, time.Time{})
		got := r.logged.take()
		if severity != d.level {
			t.Errorf("%s: severity %d, want %d", name, severity, d.level)
		}
		if d.level == ordinary {
			if got != "" {
				t.Errorf("%s: an ordinary answer leaves a line: %s", name, got)
			}
			continue
		}
		reason := log.Cause(d.err.Error())
		want := fmt.Sprintf(`op=STORE uid=1000 pid=%d program=kcm.test cache="1000:a\nforged" principal=alice@EXAMPLE.ORG code=%s reason=`, os.Getpid(), d.code)
		if strings.Contains(got, "\n") || !strings.Contains(got, want) || !strings.Contains(got, string(reason)) {
			t.Errorf("%s: the log has\n%swant\n%s%s", name, got, want, reason)
		}
	}
}

// declaredErrors returns the names of the errors that a file declares.
func declaredErrors(t *testing.T, file string) (names []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range parsed.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.VAR {
			continue
		}
		for _, spec := range group.Specs {
			for _, name := range spec.(*ast.ValueSpec).Names {
				names = append(names, name.Name)
			}
		}
	}
	if len(names) < 20 {
		t.Fatalf("%s declares %d errors", file, len(names))
	}
	return names
}

func TestWhoAsksForAnothersCacheIsLogged(t *testing.T) {
	r := newRig(t, nil)
	r.client(1000).login("1000:a", "alice")
	c := r.client(1001)
	for _, op := range []protocol.Op{protocol.OpGetPrincipal, protocol.OpDestroy, protocol.OpGetCredList} {
		c.refused(protocol.NoFile, op, name("1000:a"))
		if got, want := r.logged.take(), "request refused: op="+op.String()+" uid=1001"; strings.Contains(got, "\n") || !strings.Contains(got, want) || !strings.Contains(got, "cache=1000:a code=KRB5_FCC_NOFILE") {
			t.Errorf("%s by another user: %s", op, got)
		}
	}
	c.refused(protocol.NoFile, protocol.OpGetCacheUUIDList)
	c.refused(protocol.NoFile, protocol.OpGetPrincipal, name("1001"))
	if got := r.logged.take(); got != "" {
		t.Errorf("an empty collection is no refusal: %s", got)
	}
}

func TestADroppedClientIsLoggedWithItsRequest(t *testing.T) {
	for want, sent := range map[string][]byte{
		"op=unknown": {0, 0xa0, 0, 1},
		"op=STORE":   append([]byte{0, 0xff, 0, 0}, protocol.AppendRequest(nil, protocol.Request{Op: protocol.OpStore})[4:]...),
	} {
		r := newRig(t, nil)
		c := r.client(1000)
		if _, err := c.conn.Write(sent); err != nil {
			t.Fatal(err)
		}
		if _, err := c.receive(); err == nil {
			t.Error("it is answered")
		}
		if got := r.logged.String(); !strings.Contains(got, "client dropped: "+want+" uid=1000 pid=") || !strings.Contains(got, "code=closed reason=") {
			t.Errorf("%s: %s", want, got)
		}
	}
}
