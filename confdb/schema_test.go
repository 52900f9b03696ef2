package confdb

import (
	"os"
	"path/filepath"
	"testing"
)

// testSchema has sections of every sort: closed ones, a numbered family, an
// open family, and options of every kind.
func testSchema() Schema {
	return Schema{
		{Name: "sssd", Options: []Option{
			{Key: "debug_level", Kind: Int, Default: "0x0070"},
			{Key: "services", Kind: List},
			{Key: "domains", Kind: List},
			{Key: "socket_activation", Kind: Word, Default: "auto", Words: []string{"auto", "systemd", "monitor"}},
		}},
		{Name: "kcm", Options: []Option{
			{Key: "debug_level", Kind: Int, Default: "0x0070", Live: true},
			{Key: "socket_path", Kind: Path, Default: "/var/run/.heim_org.h5l.kcm-socket"},
			{Key: "ccache_storage", Kind: Word, Default: "secrets", Words: []string{"secrets", "secdb", "memory"}},
			{Key: "fd_limit", Kind: Int, Default: "2048", Min: 64, Max: 1 << 20},
			{Key: "max_ccache_size", Kind: Int, Default: "65536", Unit: "bytes"},
			{Key: "client_idle_timeout", Kind: Duration, Default: "60", Unit: "s", Min: 10},
			{Key: "tgt_renewal", Kind: Bool, Default: "false", Live: true},
			{Key: "krb5_renew_interval", Kind: Duration, Unit: "s"},
			{Key: "krb5_validate", Kind: Bool, Default: "false", NotServed: "tickets of other KDCs are not validated"},
			{Key: "krb5_auth_timeout", Kind: Duration, NotServed: "nothing is authenticated", Missed: true},
			{Key: "timeout", Kind: Int, Default: "10", Unit: "s", Min: 5, Max: 20, ZeroToo: true, Clamp: true,
				Odd: func(n int64) string {
					if n == 13 {
						return "is unlucky"
					}
					return ""
				}},
		}},
		{Name: "secrets", Options: []Option{
			{Key: "provider", Kind: Word, Default: "local", Words: []string{"local", "proxy"}},
			{Key: "max_secrets", Kind: Int, Default: "1024"},
		}},
		{Name: "secrets/kcm", Options: []Option{{Key: "max_secrets", Kind: Int, Default: "256"}}},
		{Name: "secrets/users/*", Numbered: true, Options: []Option{
			{Key: "proxy_url", Kind: String},
			{Key: "username", Kind: String},
			{Key: "password", Kind: String, Secret: true},
			{Key: "key", Kind: Path, Secret: true},
		}},
		{Name: "domain/*", Open: true, Options: []Option{{Key: "krb5_renew_interval", Kind: Duration, Unit: "s"}}},
	}
}

// root is a directory that stands for "/" in a test.
type root string

func newRoot(t *testing.T) root {
	t.Helper()
	r := root(t.TempDir())
	if err := os.MkdirAll(r.path("/etc/sssd/conf.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r root) path(path string) string { return filepath.Join(string(r), path) }

func (r root) write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(r.path(path), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (r root) sources() Sources {
	return Sources{File: r.path("/etc/sssd/sssd.conf"), SnippetDir: r.path("/etc/sssd/conf.d"), OwnerUID: uint32(os.Getuid())}
}

func (r root) load(t *testing.T) *Config {
	t.Helper()
	c, err := Load(r.sources(), testSchema())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// good loads a configuration that must have nothing wrong in it.
func (r root) good(t *testing.T) *Config {
	t.Helper()
	c := r.load(t)
	if err := c.Err(); err != nil {
		t.Fatal(err)
	}
	return c
}
