package vault

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// keyed makes a vault with one record and returns its directory and the path
// of its key file.
func keyed(t *testing.T) (dir, key string) {
	t.Helper()
	dir = t.TempDir()
	v := openTest(t, dir, testOptions())
	commit(t, v.Hive("secrets"), 1, map[string][]byte{"a": []byte("1")})
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, filepath.Join(dir, ".secrets.mkey")
}

func write(t *testing.T, path string, data []byte, mode os.FileMode) {
	t.Helper()
	os.Remove(path)
	if err := os.WriteFile(path, data, mode); err != nil {
		t.Fatal(err)
	}
}

func TestFilesAreMadeForTheirOwnerOnly(t *testing.T) {
	dir, key := keyed(t)
	for _, path := range []string{key, filepath.Join(dir, "secrets.db"), filepath.Join(dir, "secrets.db.journal")} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
	}
	if secret, err := os.ReadFile(key); err != nil || len(secret) != masterLen {
		t.Errorf("the key has %d bytes, %v", len(secret), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Errorf("there are other files: %v, %v", entries, err)
	}
}

func TestAKeyThatCannotBeUsedIsRefused(t *testing.T) {
	other := bytes.Repeat([]byte{7}, masterLen)
	for name, c := range map[string]struct {
		spoil func(t *testing.T, key string)
		says  string
	}{
		"it is missing":            {func(_ *testing.T, key string) { os.Remove(key) }, "there is no key file"},
		"it is another one":        {func(t *testing.T, key string) { write(t, key, other, 0o600) }, "but "},
		"the group may read it":    {func(_ *testing.T, key string) { os.Chmod(key, 0o640) }, "mode 0640"},
		"everybody may read it":    {func(_ *testing.T, key string) { os.Chmod(key, 0o604) }, "mode 0604"},
		"it is too short":          {func(t *testing.T, key string) { write(t, key, other[1:], 0o600) }, "31 bytes"},
		"it is too long":           {func(t *testing.T, key string) { write(t, key, append(other, 0), 0o600) }, "33 bytes"},
		"it is empty":              {func(t *testing.T, key string) { write(t, key, nil, 0o600) }, "0 bytes"},
		"it is a symbolic link":    {func(_ *testing.T, key string) { os.Rename(key, key+"2"); os.Symlink(key+"2", key) }, "symbolic link"},
		"it is a directory":        {func(_ *testing.T, key string) { os.Remove(key); os.Mkdir(key, 0o700) }, "not a regular file"},
		"it belongs to somebody":   {func(_ *testing.T, key string) { os.Chown(key, 4711, 0) }, "belongs to uid 4711"},
		"a key for next is there":  {func(t *testing.T, key string) { write(t, key+".new", other, 0o600); os.Remove(key) }, "but "},
		"the one for next is open": {func(t *testing.T, key string) { write(t, key+".new", other, 0o644); os.Chmod(key+".new", 0o644) }, "mode 0644"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, key := keyed(t)
			c.spoil(t, key)
			if strings.Contains(c.says, "belongs") && os.Geteuid() != 0 {
				t.Skip("only root can give a file away")
			}
			before := listing(t, dir)
			_, err := Open(dir, testOptions())
			if !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), dir) {
				t.Errorf("error %v", err)
			}
			if after := listing(t, dir); after != before {
				t.Errorf("files changed from %s to %s", before, after)
			}
		})
	}
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		data, _ := os.ReadFile(filepath.Join(dir, entry.Name()))
		all.WriteString(info.Name() + " " + info.Mode().String() + " " + strconv.Itoa(len(data)) + "\n")
	}
	return all.String()
}

func TestADatabaseThatOthersCouldReadIsRefused(t *testing.T) {
	dir, _ := keyed(t)
	path := filepath.Join(dir, "secrets.db")
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, testOptions()); err == nil || !strings.Contains(err.Error(), "mode 0644") {
		t.Errorf("error %v", err)
	}
	if err := errors.Join(os.Rename(path, path+"2"), os.Symlink(path+"2", path)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, testOptions()); err == nil {
		t.Error("a symbolic link was followed")
	}
}

func TestACredentialIsUsedAndNotWritten(t *testing.T) {
	dir := t.TempDir()
	credentials := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", credentials)
	if path := Credential("secrets.mkey"); path != "" {
		t.Errorf("a credential that is not there is at %s", path)
	}
	write(t, filepath.Join(credentials, "secrets.mkey"), bytes.Repeat([]byte{9}, masterLen), 0o400)
	opts := testOptions()
	opts.Credential = Credential("secrets.mkey")
	for range 2 {
		v := openTest(t, dir, opts)
		commit(t, v.Hive("secrets"), 1, map[string][]byte{"a": []byte("1")})
		if err := v.Rekey(ctx); !errors.Is(err, ErrKey) {
			t.Errorf("rekey: %v", err)
		}
		v.Close()
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 { // with the journal
		t.Errorf("files %v, %v", entries, err)
	}
	if _, err := Open(dir, testOptions()); !errors.Is(err, ErrKey) {
		t.Errorf("without the credential: %v", err)
	}
}

func TestAVaultMovesToACredential(t *testing.T) {
	dir, key := keyed(t)
	credential := filepath.Join(t.TempDir(), "secrets.mkey")
	write(t, credential, bytes.Repeat([]byte{9}, masterLen), 0o400)
	opts := testOptions()
	opts.Credential = credential
	v := openTest(t, dir, opts)
	want(t, v.Hive("secrets"), 1, map[string]string{"a": "1"})
	untilRekeyed(t, v)
	v.Close()
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	v = openTest(t, dir, opts)
	want(t, v.Hive("secrets"), 1, map[string]string{"a": "1"})
	v.Close()

	// And to the next credential, with the old one kept beside it.
	write(t, credential+".old", bytes.Repeat([]byte{9}, masterLen), 0o400)
	write(t, credential, bytes.Repeat([]byte{8}, masterLen), 0o400)
	v = openTest(t, dir, opts)
	untilRekeyed(t, v)
	v.Close()
	os.Remove(credential + ".old")
	want(t, openTest(t, dir, opts).Hive("secrets"), 1, map[string]string{"a": "1"})
}

// TestTheKeyIsTakenAwayUnderARunningVault: what is open goes on. When the file
// has to be opened again, the missing or wrong key is named, none is made, and
// with the right one back everything is there.
func TestTheKeyIsTakenAwayUnderARunningVault(t *testing.T) {
	t.Parallel()
	for name, take := range map[string]func(t *testing.T, key string){
		"removed": func(*testing.T, string) {},
		"replaced": func(t *testing.T, key string) {
			if err := os.WriteFile(key, bytes.Repeat([]byte("x"), masterLen), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"cut short": func(t *testing.T, key string) {
			if err := os.WriteFile(key, []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			v := openTest(t, dir, unsynced())
			h := v.Hive("kcm")
			commit(t, h, 1, map[string][]byte{"a": []byte("1")})
			key, safe := filepath.Join(dir, ".secrets.mkey"), filepath.Join(t.TempDir(), "safe")
			if err := os.Rename(key, safe); err != nil {
				t.Fatal(err)
			}
			take(t, key)
			commit(t, h, 1, map[string][]byte{"b": []byte("2")})
			want(t, h, 1, map[string]string{"a": "1", "b": "2"})

			v.drop(v.file, errors.New("a write failed"))
			err := h.Commit(ctx, 1, map[string][]byte{"c": []byte("3")})
			if !errors.Is(err, ErrKey) {
				t.Errorf("opened again: %v", err)
			}
			if _, err := h.Load(ctx, 1); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), "secrets") {
				t.Errorf("read again: %v", err)
			}
			if _, err := os.Stat(key); name == "removed" && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("another key was made: %v", err)
			}
			if err := os.Rename(safe, key); err != nil {
				t.Fatal(err)
			}
			commit(t, h, 1, map[string][]byte{"d": []byte("4")})
			want(t, h, 1, map[string]string{"a": "1", "b": "2", "d": "4"})
		})
	}
}
