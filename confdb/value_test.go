package confdb

import (
	"strings"
	"testing"
	"time"
)

func TestValuesAreReadAsTheyAreWritten(t *testing.T) {
	s, err := NewSnapshot(testSchema(), map[string]map[string]string{
		"KCM":                 {"FD_limit": "0x400", "ccache_storage": "SecDB", "tgt_renewal": "TRUE", "krb5_renew_interval": "1d12h"},
		"sssd":                {"services": " nss,, pam ,"},
		"domain/Example.com":  {"krb5_renew_interval": "90", "id_provider": "ad"},
		"secrets/users/1000":  {"password": " # not a comment"},
		"domain/empty.domain": {},
	})
	if err != nil {
		t.Fatal(err)
	}
	kcm := s.Section("kcm")
	if got := kcm.Int("fd_limit"); got != 1024 {
		t.Errorf("fd_limit is %d", got)
	}
	if got := kcm.String("ccache_storage"); got != "secdb" {
		t.Errorf("ccache_storage is %q, not as declared", got)
	}
	if !kcm.Bool("TGT_RENEWAL") || kcm.Bool("krb5_validate") {
		t.Error("a boolean is wrong")
	}
	if got := kcm.Duration("krb5_renew_interval"); got != 36*time.Hour {
		t.Errorf("krb5_renew_interval is %v", got)
	}
	if got := kcm.Duration("client_idle_timeout"); got != time.Minute {
		t.Errorf("the default of client_idle_timeout is %v", got)
	}
	if kcm.IsSet("client_idle_timeout") || !kcm.IsSet("fd_limit") {
		t.Error("a default is not told from a setting")
	}
	if got := s.Section("sssd").List("services"); strings.Join(got, "|") != "nss|pam" {
		t.Errorf("services are %q", got)
	}
	if got := s.Sections("domain/"); strings.Join(got, "|") != "domain/empty.domain|domain/example.com" {
		t.Errorf("domains are %q", got)
	}
	if got := s.Section("domain/example.com").Duration("krb5_renew_interval"); got != 90*time.Second {
		t.Errorf("the domain's interval is %v", got)
	}
}

func TestDurations(t *testing.T) {
	tests := map[string]int64{ // -1: refused
		"0": 0, "60": 60, "0x3c": 60, "60s": 60, "60m": 3600, "1h": 3600, "1H30M": 5400, "1d12h": 129600, "08h": 28800, "-5": -5,
		"": -1, "h": -1, "1": 1, "1h1h": -1, "1m1h": -1, "1h30": -1, "1.5h": -1, "07": -1, "-1h": -1, "9999999999h": -1, "1 h": -1,
		"99999999999999999999": -1, "2147483647d": 2147483647 * 86400,
		"1:00:00": 3600, "1:30": 5400, "2-1:00:01": 176401, "1d 12h": 129600, "1d\t12h  5s": 129605, "1-1:00": -1, "1:": -1, ":30": -1, "1:2:3:4": -1, "-1:00": -1, "1::2": -1, "99999999999:00": -1,
	}
	for text, want := range tests {
		if text == "" {
			continue // Check never asks
		}
		got, err := parseSeconds(text)
		if (err != nil) != (want == -1) || err == nil && got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
}

func TestNoDurationThatPassesTheCheckOverflows(t *testing.T) {
	option := Option{Key: "x", Kind: Duration, Max: 1 << 62}
	for text, good := range map[string]bool{"9223372036": true, "9223372037": false, "106751d": true, "106752d": false, "9223372036854775807": false} {
		if err := option.Check(text); (err == nil) != good {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestSchemaMatchesFamiliesByElements(t *testing.T) {
	tests := map[string]string{
		"KCM": "kcm", "secrets/KCM": "secrets/kcm", "secrets/users/7": "secrets/users/*", "Domain/x": "domain/*",
		"domain/": "", "domain/x/y": "", "secrets/users": "", "domain/*": "domain/*", "secrets/other": "",
	}
	for name, want := range tests {
		got := ""
		if section := testSchema().Match(name); section != nil {
			got = section.Name
		}
		if got != want {
			t.Errorf("%s matches %q, want %q", name, got, want)
		}
	}
}

func TestReadingWhatIsNotDeclaredPanics(t *testing.T) {
	s, err := NewSnapshot(testSchema(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, read := range map[string]func(){
		"a section":      func() { s.Section("frobnicate").Int("x") },
		"an option":      func() { s.Section("kcm").Int("x") },
		"another kind":   func() { s.Section("kcm").Bool("fd_limit") },
		"a text as word": func() { s.Section("kcm").List("socket_path") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			read()
		}()
	}
}

func TestDistanceCountsTypingErrors(t *testing.T) {
	tests := []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"kcm", "kcm", 0}, {"kmc", "kcm", 1}, {"debug_levl", "debug_level", 1}, {"ab", "ba", 1}, {"abc", "xyz", 3}, {"ca", "abc", 3}}
	for _, test := range tests {
		for _, pair := range [][2]string{{test.a, test.b}, {test.b, test.a}} {
			if got := distance(pair[0], pair[1]); got != test.want {
				t.Errorf("from %q to %q: %d, want %d", pair[0], pair[1], got, test.want)
			}
		}
	}
}

func TestAValueBelowItsBoundCountsAsTheBound(t *testing.T) {
	for text, want := range map[string]int64{"1": 5, "5": 5, "010": 8, "20": 20, "21": 20, "-3": 5, "0": 0, "+7": 7, "": 10} {
		s, err := NewSnapshot(testSchema(), map[string]map[string]string{"kcm": {"timeout": text}})
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if got := s.Section("kcm").Int("timeout"); got != want {
			t.Errorf("%q counts as %d, want %d", text, got, want)
		}
	}
}

func TestWhatSSSDStartsWithDoesNotStopTheStart(t *testing.T) {
	r := newRoot(t)
	for _, text := range []string{
		"[prompting/oauth2]\n", "[prompting/x/y]\n", "[certmap/a]\n", "[domain/x@]\n", "[radius]\nserver = x\n", "before = 1\n[kcm]\n",
		"[kcm]\ntimeout = 1\n", "[kcm]\nkrb5_validate = perhaps\n", "[kcm]\nkrb5_auth_timeout = 5\n", "[nss]\nnew_option = 1\n",
		"[kcm]\ndebug_to_files = true\nreconnection_retries = 3\n", "[sssd]\nenable_files_domain = true\ncore_dumpable = true\n",
		"[kcm]\nfd_limit = 0100\n",
	} {
		r.write(t, "/etc/sssd/sssd.conf", text)
		c := r.load(t)
		if err := c.Err(); err != nil {
			t.Errorf("%q: %v", text, err)
		} else if len(c.Findings) == 0 {
			t.Errorf("%q: nothing is said", text)
		}
	}
}

// FuzzWhatIsInForcePassesTheCheck guards that whatever an option accepts can
// be read, and that what counts is right by itself and counts as itself.
func FuzzWhatIsInForcePassesTheCheck(f *testing.F) {
	for _, text := range []string{"1", "010", "0x7f", "+9", "-1", "99999999999999999999", "1d12h", "2147483647d", "true", "/x", "a, b", "", "08", "1\u00a0", "0x"} {
		f.Add(text)
	}
	schema := testSchema()
	f.Fuzz(func(t *testing.T, text string) {
		for i := range schema {
			for j := range schema[i].Options {
				option := &schema[i].Options[j]
				_ = option.adjusted(text)
				if option.Check(text) != nil || option.NotServed != "" {
					continue
				}
				counts := option.inForce(text)
				if err := option.Check(counts); err != nil {
					t.Errorf("%s: %q is accepted and counts as %q, which is not: %v", option.Key, text, counts, err)
				}
				if again := option.inForce(counts); again != counts {
					t.Errorf("%s: %q counts as %q, and that as %q", option.Key, text, counts, again)
				}
				if option.Kind != Int && option.Kind != Duration || counts == "" {
					continue
				}
				if n, err := option.number(counts); err != nil || n != option.clamp(n) {
					t.Errorf("%s: %q counts as %q: %d, %v", option.Key, text, counts, n, err)
				}
			}
		}
	})
}

func TestParseIntTakesWhatSSSDTakes(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "9": 9, "0x1F": 31, "010": 8, "+3": 3, "2147483647": 2147483647} {
		if got, err := ParseInt(text); err != nil || got != want {
			t.Errorf("%q is %d, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"": "missing", "x": "is not an integer", "-3": "out of range, expected 0 to", "1_0": "is not an integer", "0b1": "is not an integer", "2147483648": "out of range",
		"99999999999999999999": "out of range", "08": "write 8", "++1": "is not an integer", "0x": "is not an integer", "1 ": "is not an integer", //nolint:gocritic // the white space is what is tried
	} {
		if _, err := ParseInt(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestModes(t *testing.T) {
	option := Option{Key: "mode", Kind: Mode}
	for text, want := range map[string]int{ // -1: refused
		"600": 0o600, "0600": 0o600, "0666": 0o666, "000": 0, "777": 0o777,
		"60": -1, "0o600": -1, "00600": -1, "1777": -1, "4755": -1, "680": -1, "+600": -1, "rw-------": -1, "6 0": -1,
	} {
		mode, err := parseMode(text)
		switch {
		case want < 0 && (err == nil || option.Check(text) == nil):
			t.Errorf("%q is accepted", text)
		case want >= 0 && (err != nil || option.Check(text) != nil || int(mode) != want):
			t.Errorf("%q is %o, %v; want %o", text, mode, err, want)
		}
	}
}

func TestAFamilyMayBeginWithAWord(t *testing.T) {
	schema := Schema{{Name: "kcm"}, {Name: "kcm/socket *"}, {Name: "secrets/users/*"}}
	for name, want := range map[string]string{
		"kcm/socket web": "kcm/socket *", "KCM/Socket Web": "kcm/socket *", "kcm/socket a b": "kcm/socket *", "secrets/users/1": "secrets/users/*",
		"kcm/socket": "", "kcm/socket ": "", "kcm/socketweb": "", "kcm/socket/web": "", "kcm/socket web/x": "", "kcm": "kcm",
	} {
		got := ""
		if section := schema.Match(name); section != nil {
			got = section.Name
		}
		if got != want {
			t.Errorf("[%s] is declared by %q, want %q", name, got, want)
		}
	}
	patterns := []string{"kcm", "kcm/socket *", "domain/*"}
	for name, want := range map[string]string{
		"kcm/socket/web": "kcm/socket web", "kcm/sokcet web": "kcm/socket web", "kcm/sockets web": "kcm/socket web",
		"domian/socket x": "domain/socket x", "nothing like it": "",
	} {
		if got := nearestSection(name, patterns); got != want {
			t.Errorf("[%s] is taken for %q, want %q", name, got, want)
		}
	}
}
