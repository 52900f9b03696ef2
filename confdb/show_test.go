package confdb

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestShowTellsWhereEveryValueComesFrom(t *testing.T) {
	r := newRoot(t)
	r.write(t, "/etc/sssd/sssd.conf", "[KCM]\nFD_limit = 65\ntimeout = 3\nkrb5_validate = maybe\ncommand = /bin/x\n[secrets/users/1000]\npassword = x\nproxy_url = http://p/\n[nss]\npwfield = x\n")
	r.write(t, "/etc/sssd/conf.d/a.conf", "[kcm]\ntgt_renewal = true\n")
	s := r.good(t).Snapshot()

	var got []string
	for _, row := range append(s.Show("kcm"), append(s.Show("secrets/users/1000"), s.Show("NSS")...)...) {
		got = append(got, strings.Join([]string{row.Section, row.Key, row.Value, strings.TrimPrefix(row.Origin, string(r)+"/etc/sssd/")}, "|"))
	}
	want := []string{
		"kcm|debug_level|0x0070|default",
		"kcm|socket_path|/var/run/.heim_org.h5l.kcm-socket|default",
		"kcm|ccache_storage|secrets|default",
		"kcm|fd_limit|65|sssd.conf:2",
		"kcm|max_ccache_size|65536|default",
		"kcm|client_idle_timeout|60|default",
		"kcm|tgt_renewal|true|conf.d/a.conf:2",
		"kcm|krb5_renew_interval||default",
		"kcm|krb5_validate|maybe|sssd.conf:4, not served",
		"kcm|krb5_auth_timeout||default",
		"kcm|timeout|5|sssd.conf:3, where it is 3",
		"kcm|command|/bin/x|sssd.conf:5",
		"secrets/users/1000|proxy_url|http://p/|sssd.conf:8",
		"secrets/users/1000|username||default",
		"secrets/users/1000|password|" + masked + "|sssd.conf:7",
		"secrets/users/1000|key||default",
		"nss|pwfield|x|sssd.conf:10",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	var sections []string
	for _, row := range s.Show("") {
		if !slices.Contains(sections, row.Section) {
			sections = append(sections, row.Section)
		}
	}
	if want := []string{"sssd", "kcm", "secrets", "secrets/kcm", "secrets/users/1000", "nss"}; !slices.Equal(sections, want) {
		t.Errorf("sections are %q, want %q", sections, want)
	}
	if rows := s.Show("frobnicate"); rows != nil {
		t.Errorf("a section that does not exist has %v", rows)
	}
}

func TestReportKeepsTheBlocksOfSSSD(t *testing.T) {
	tests := map[string]struct {
		main, snippet string
		problems      int
		want          string
	}{
		"a good configuration": {
			main: "[kcm]\nfd_limit = 65\n", snippet: "[kcm]\n",
			want: "Issues identified by validators: 0\n\nMessages generated during configuration merging: 0\n\n" +
				"Used configuration snippet files: 1\n/etc/sssd/conf.d/a.conf\n",
		},
		"one of everything": {
			main:     "[kcm]\nfd_limt = 65\nfd_limit = 1 # x\nfd_limit = 2\n[kmc]\n[sssd]\ntgt_renewal=true\n[secrets/users/1]\npasswort = x\n[nss]\n",
			snippet:  "[kcm\n",
			problems: 6,
			want: `Issues identified by validators: 5
/etc/sssd/sssd.conf:2: [rule/allowed_kcm_options]: Attribute 'fd_limt' is not allowed in section 'kcm'. Check for typos. Did you mean 'fd_limit'?
/etc/sssd/sssd.conf:4: [kcm] fd_limit: '2' is out of range, expected 64 to 1048576
/etc/sssd/sssd.conf:5: [rule/allowed_sections]: Section [kmc] is not allowed. Check for typos. Did you mean [kcm]?
/etc/sssd/sssd.conf:7: [rule/allowed_sssd_options]: Attribute 'tgt_renewal' is not allowed in section 'sssd'. Check for typos. It belongs to [kcm].
/etc/sssd/sssd.conf:9: [rule/allowed_sec_users_options]: Attribute 'passwort' is not allowed in section 'secrets/users/1'. Check for typos. Did you mean 'password'?

Messages generated during configuration merging: 1
/etc/sssd/conf.d/a.conf:1: Error (2) on line 1: No closing bracket.

Used configuration snippet files: 0

Notes: 2
/etc/sssd/sssd.conf:3: [kcm] fd_limit is set again on line 4, which counts
/etc/sssd/sssd.conf:10: [nss] is not served by this build
`,
		},
		"what SSSD would start with": {
			main:     "fd_limit = 7\n[domain/A@B]\n[kcm]\nkrb5_auth_timeout = 5\ntimeout = 1\n[radius]\n",
			snippet:  "[kcm]\n",
			problems: 3,
			want: `Issues identified by validators: 3
/etc/sssd/sssd.conf:1: [rule/allowed_sections]: Section [default] is not allowed. Check for typos. An option stands before the first [section], where it has no effect.
/etc/sssd/sssd.conf:2: [rule/allowed_sections]: Section [domain/A@B] is not allowed. Check for typos.
/etc/sssd/sssd.conf:6: [rule/allowed_sections]: Section [radius] is not allowed. Check for typos.

Messages generated during configuration merging: 0

Used configuration snippet files: 1
/etc/sssd/conf.d/a.conf

Warnings: 1
/etc/sssd/sssd.conf:4: [kcm] krb5_auth_timeout: has no effect: nothing is authenticated

Notes: 1
/etc/sssd/sssd.conf:5: [kcm] timeout: '1' is below the smallest value; 5 s is in force
`,
		},
		"no configuration": {
			want: `File /etc/sssd/sssd.conf does not exist.
Directory /etc/sssd/conf.d does not exist.
There is no configuration.
Issues identified by validators: 0

Messages generated during configuration merging: 0

Used configuration snippet files: 0
`,
		},
		"a bad main file without a directory of snippets": {
			main: "[kcm]\nfd_limit = 1\n", problems: 1,
			want: `Directory /etc/sssd/conf.d does not exist.
Issues identified by validators: 1
/etc/sssd/sssd.conf:2: [kcm] fd_limit: '1' is out of range, expected 64 to 1048576

Messages generated during configuration merging: 0

Used configuration snippet files: 0
`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRoot(t)
			if test.main != "" {
				r.write(t, "/etc/sssd/sssd.conf", test.main)
			}
			if test.snippet != "" {
				r.write(t, "/etc/sssd/conf.d/a.conf", test.snippet)
			} else if err := os.Remove(r.path("/etc/sssd/conf.d")); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			problems := r.load(t).Report(&out)
			if got := strings.ReplaceAll(out.String(), string(r), ""); got != test.want || problems != test.problems {
				t.Errorf("%d problems:\n%s\nwant %d:\n%s", problems, got, test.problems, test.want)
			}
		})
	}
}
