package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"gosssd/kcm/protocol"
)

// cacheShown is what a test looks at in the JSON of ccache list and show.
type cacheShown struct {
	UID         uint32
	Name        string
	Principal   string
	Default     bool
	Tickets     int
	Size        int
	SizeLimit   *int       `json:"size_limit"`
	Used        *time.Time `json:"used"`
	Expires     *time.Time
	Credentials []struct {
		Service, Client, Flags string
		Size                   int
	}
}

// listed is what ccache list tells a user, with more options.
func (s *system) listed(u user, options ...string) []cacheShown {
	s.t.Helper()
	got := s.ctl(u, "", append([]string{"ccache", "list", "-j"}, options...)...)
	if got.code != 0 {
		s.t.Fatalf("ccache list %v: %+v", options, got)
	}
	var list []cacheShown
	if err := json.Unmarshal([]byte(got.stdout), &list); err != nil {
		s.t.Fatalf("ccache list %v: %v: %s", options, err, got.stdout)
	}
	return list
}

// names are the names of caches, and of the default one with a star.
func names(list []cacheShown) string {
	var all []string
	for _, c := range list {
		name := c.Name
		if c.Default {
			name += "*"
		}
		all = append(all, name)
	}
	return strings.Join(all, " ")
}

// TestUsersLookAfterTheirOwnCachesAndRootAfterAll has two users with caches of a
// real KDC. None sees, or can change, anything of the other.
func TestUsersLookAfterTheirOwnCachesAndRootAfterAll(t *testing.T) {
	t.Parallel()
	needRoot(t)
	needRealm(t)
	s := newSystem(t, kept("secrets")).start()
	const ann, ben = user(4001), user(4002)
	s.sh(ann, login+`login alice; login bob; kswitch -p alice; kvno -q host/server.example.test`)
	s.sh(ben, login+`login carol`)
	all := s.listed(0)
	if len(all) != 3 || all[0].UID != 4001 || all[2].UID != 4002 {
		t.Fatalf("root sees %+v", all)
	}
	alices, bobs, carols := all[0].Name, all[1].Name, all[2].Name
	if c := all[0]; c.Principal != "alice@EXAMPLE.TEST" || !c.Default || c.Tickets != 2 || c.Size < 1000 || c.SizeLimit == nil || c.Used == nil || c.Expires == nil {
		t.Errorf("root sees of alice's cache %+v", c)
	}
	for _, got := range [][2]string{
		{names(s.listed(ann)), alices + "* " + bobs},
		{names(s.listed(ann, "--user", "4001")), alices + "* " + bobs},
		{names(s.listed(ben)), carols + "*"},
		{names(s.listed(0, "--user", "4002")), carols + "*"},
		{names(s.listed(ann, "--expiring", "1h")), ""},
		{names(s.listed(user(4003))), ""},
	} {
		if got[0] != got[1] {
			t.Errorf("%q is listed, expected %q", got[0], got[1])
		}
	}

	s.refusesOthers(t, ann, carols)
	s.showsNoKeys(t, ann, alices)

	s.mustCtl(ann, "ccache", "switch", "KCM:"+bobs)
	is(t, s, ann, `primary`, "bob")
	s.mustCtl(0, "ccache", "switch", alices)
	is(t, s, ann, `primary`, "alice")
	if got := s.ctl(ann, "", "ccache", "destroy", "4001:none", bobs); got.code != 4 || !strings.Contains(got.stderr, `there is no cache "4001:none"`) {
		t.Errorf("destroy of one that is not there and one that is: %+v", got)
	}
	is(t, s, ann, `caches`, "1")
	if got := s.mustCtl(0, "ccache", "purge", "--user", "4001"); got != "Caches destroyed 1\n" {
		t.Errorf("purge of a user by root says %q", got)
	}
	is(t, s, ann, `caches`, "0")
	is(t, s, ben, `caches`, "1")
	if got := s.mustCtl(ben, "ccache", "purge"); got != "Caches destroyed 1\n" {
		t.Errorf("purge of one's own says %q", got)
	}
	is(t, s, ben, `caches`, "0")
}

// mustCtl is ctl of a command that succeeds, and returns what it prints.
func (s *system) mustCtl(u user, args ...string) string {
	s.t.Helper()
	got := s.ctl(u, "", args...)
	if got.code != 0 {
		s.t.Fatalf("%v: %+v", args, got)
	}
	return got.stdout
}

// refusesOthers tries every command on the cache of another user.
func (s *system) refusesOthers(t *testing.T, u user, cache string) {
	t.Helper()
	for _, args := range [][]string{{"show", cache}, {"switch", cache}, {"destroy", cache}} {
		got := s.ctl(u, "", append([]string{"ccache"}, args...)...)
		if got.code != 4 || got.stdout != "" || !strings.Contains(got.stderr, "there is no cache") {
			t.Errorf("%v by another user: %+v", args, got)
		}
	}
	for _, args := range [][]string{{"list", "--all"}, {"list", "--user", "4002"}, {"purge", "--all"}, {"purge", "--user", "4002"}} {
		got := s.ctl(u, "", append([]string{"ccache"}, args...)...)
		if got.code != 1 || got.stdout != "" || !strings.Contains(got.stderr, "only root") {
			t.Errorf("%v by an ordinary user: %+v", args, got)
		}
	}
}

// showsNoKeys compares what is shown of a cache with what is in it.
func (s *system) showsNoKeys(t *testing.T, u user, cache string) {
	t.Helper()
	text := s.mustCtl(u, "ccache", "show", "--full")
	for _, want := range []string{"Cache:", cache + " (default)", "alice@EXAMPLE.TEST", "krbtgt/EXAMPLE.TEST@EXAMPLE.TEST", "host/server.example.test@EXAMPLE.TEST"} {
		if !strings.Contains(text, want) {
			t.Errorf("ccache show lacks %q:\n%s", want, text)
		}
	}
	whole := s.mustCtl(0, "ccache", "show", "-j", cache)
	var got cacheShown
	if err := json.Unmarshal([]byte(whole), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Credentials) != 2 || !strings.Contains(got.Credentials[0].Flags, "I") || got.UID != uint32(u) || !got.Default || got.SizeLimit == nil {
		t.Errorf("root is shown %+v", got)
	}
	creds, err := s.kcm().Credentials(cache)
	if err != nil || len(creds) < 2 {
		t.Fatalf("%d credentials, %v", len(creds), err)
	}
	for _, c := range creds {
		for what, secret := range map[string][]byte{"key": c.Key.Key, "ticket": c.Ticket} {
			for _, form := range []string{string(secret), fmt.Sprintf("%x", secret)} {
				if len(secret) > 0 && strings.Contains(text+whole, form) {
					t.Errorf("the %s of %s is shown", what, c.Server)
				}
			}
		}
	}
}

// TestExpiredTicketsAreRemovedByCommand leaves those alone that are valid.
func TestExpiredTicketsAreRemovedByCommand(t *testing.T) {
	t.Parallel()
	s := newSystem(t, kept("memory")).start()
	me, c := user(os.Getuid()), s.kcm()
	defer c.reset()
	alice := principal("alice")
	now := uint32(time.Now().Unix())
	cache := fmt.Sprintf("%d:expired", me)
	if err := c.Initialize(cache, alice); err != nil {
		t.Fatal(err)
	}
	for service, end := range map[string]uint32{"old": now - 10, "older": now - 1000, "good": now + 1000} {
		cred := protocol.Credential{Client: alice, Server: principal("host", service), Ticket: []byte("t"),
			Times: protocol.Times{Auth: now - 2000, End: end}}
		if err := c.Store(cache, cred); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.mustCtl(me, "ccache", "purge", "--expired", "--all"); got != "Expired tickets removed 2, from caches 1\n" {
		t.Errorf("it says %q", got)
	}
	if got, err := c.services(cache); err != nil || fmt.Sprint(got) != "[good]" {
		t.Errorf("there are %v, %v", got, err)
	}
	if got := s.mustCtl(me, "ccache", "purge", "--expired"); got != "Expired tickets removed 0, from caches 0\n" {
		t.Errorf("once more it says %q", got)
	}
}
