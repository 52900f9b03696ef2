package rest

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"strings"
	"testing"

	"gosssd/responder"
	"gosssd/responder/log"
	"gosssd/secrets/quota"
	"gosssd/secrets/records"
	"gosssd/secrets/vault"
)

func TestEveryRefusalLeavesOneLine(t *testing.T) {
	errs := map[string]error{
		"errBadRequest": errBadRequest, "errForbidden": errForbidden, "errNotFound": errNotFound, "errNotSimple": errNotSimple,
		"errNotText": errNotText, "errTooDeep": errTooDeep, "errExists": errExists, "errNotEmpty": errNotEmpty,
		"errTooLarge": errTooLarge, "errTooLong": errTooLong, "errStale": errStale,
		"a quota of all": quota.ErrAllSecrets, "of a user": quota.ErrUserSecrets, "of containers": quota.ErrUserContainers, "of bytes": quota.ErrTooLarge,
		"a record": records.ErrMalformed, "a frame": records.ErrTooLong, "memory": responder.ErrBudget, "a race": vault.ErrChanged,
		"the disk": vault.ErrFull, "slow": context.DeadlineExceeded, "damage": vault.ErrDamaged, "any": errors.New("x"), "a head": errHead,
	}
	for _, name := range declaredErrors(t, "reply.go") {
		if errs[name] == nil {
			t.Errorf("%s: is it a refusal? The test does not know", name)
		}
	}
	s := serve(t, nil)
	for name, err := range errs {
		var got strings.Builder
		c := &session{peer: responder.Peer{UID: 1000, PID: 1}, log: log.To(&got, log.Default), op: http.MethodPut, about: target{hive: usersHive, uid: 1001}}
		status, _ := statusOf(err)
		s.note(c, status, err)
		if errors.Is(err, errStale) {
			if got.String() != "" {
				t.Errorf("sssd_kcm's way is no refusal: %s", got.String())
			}
			continue
		}
		want := fmt.Sprintf("op=PUT uid=1000 pid=1 program=%s hive=secrets owner=1001 code=%d reason=", c.peer.Program(), status)
		if strings.Count(got.String(), "\n") != 1 || !strings.Contains(got.String(), want) {
			t.Errorf("%s: the log has %q, want %s", name, got.String(), want)
		}
	}
}

func declaredErrors(t *testing.T, file string) (names []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(spec.Names[0].Name, "err") {
			names = append(names, spec.Names[0].Name)
		}
		return true
	})
	if len(names) < 10 {
		t.Fatalf("%s declares %d errors", file, len(names))
	}
	return names
}

// TestRefusalsOfRealRequestsAreLogged sends each kind once: what leaves a line
// at the default level, and what does not.
func TestRefusalsOfRealRequestsAreLogged(t *testing.T) {
	for request, want := range map[string]string{
		"GET /secrets/none":               "",
		"DELETE /secrets/none":            "",
		"GET /users/1001/a":               "op=GET uid=1000 pid=1 ",
		"PUT /secrets/none/a x":           "op=PUT uid=1000 pid=1 ",
		"PUT /secrets/a {":                "code=400",
		"POST /secrets/a/b/":              "code=404",
		"GET /secrets/a%2fb%0aforged":     "code=400",
		"PUT /secrets/b {\"type\":\"x\"}": "code=400",
	} {
		s := serve(t, nil)
		s.log.SetMask(log.Default)
		s.ask(t, request)
		got := s.logged.String()
		if want == "" && got != "" || want != "" && (strings.Count(got, "\n") != 1 || !strings.Contains(got, "request refused: ") || !strings.Contains(got, want)) {
			t.Errorf("%s: the log has %q, want %q", request, got, want)
		}
	}
	for name, sent := range malformed {
		s := serve(t, nil)
		s.log.SetMask(log.Default)
		status, own := firstStatus(t, s.path, sent)
		if !own || status == 0 {
			continue
		}
		if got := s.logged.String(); !strings.Contains(got, fmt.Sprintf("request refused: op=unknown uid=1000 pid=1 program=%s code=%d ", responder.Peer{PID: 1}.Program(), status)) {
			t.Errorf("%s: answered %d, the log has %q", name, status, got)
		}
	}
}
