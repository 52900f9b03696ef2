package vault

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"gosssd/linux"
)

// masterLen is the length of a master key in bytes.
const masterLen = 32

// keyID names a master key without telling anything about it.
type keyID [8]byte

func (id keyID) String() string { return hex.EncodeToString(id[:]) }

// masterKey is a master key and the file it came from.
type masterKey struct {
	id     keyID
	secret []byte
	path   string
}

// keyFiles are the places where the master keys of one database may be.
type keyFiles struct {
	credential string // given by systemd; "" if there is none
	current    string
	next       string // of a rekey that is not finished
	owner      uint32
}

// keyFilesOf returns the places for a database; those of dir/secrets.db are
// dir/.secrets.mkey and dir/.secrets.mkey.new.
func keyFilesOf(database string, opts Options) keyFiles {
	dir, base := filepath.Split(database)
	current := filepath.Join(dir, "."+strings.TrimSuffix(base, filepath.Ext(base))+".mkey")
	return keyFiles{credential: opts.Credential, current: current, next: current + ".new", owner: opts.OwnerUID}
}

// Credential returns where systemd put the credential called name for this
// process, or "" if it did not.
func Credential(name string) string {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return ""
	}
	path := filepath.Join(dir, name)
	if _, err := os.Lstat(path); err != nil {
		return ""
	}
	return path
}

// load returns the master keys there are. The first is the one to seal under.
// A credential called "….old" is what a new one replaces.
func (f keyFiles) load() ([]masterKey, error) {
	places := []string{f.current, f.next}
	if f.credential != "" {
		places = []string{f.credential, f.credential + ".old", f.current, f.next}
	}
	var keys []masterKey
	for _, path := range places {
		key, err := f.read(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// read reads one master key. Who may have written or read the file is checked
// on the open descriptor, so that it cannot change in between.
func (f keyFiles) read(path string) (masterKey, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ELOOP) {
		return masterKey{}, &KeyError{path, "is a symbolic link", "put the key file itself there"}
	}
	if err != nil {
		return masterKey{}, fmt.Errorf("open master key: %w", err)
	}
	defer file.Close()
	if err := f.check(file); err != nil {
		return masterKey{}, err
	}
	secret := make([]byte, masterLen)
	if _, err := io.ReadFull(file, secret); err != nil {
		return masterKey{}, fmt.Errorf("read master key %s: %w", path, err)
	}
	return newMasterKey(secret, path)
}

func (f keyFiles) check(file *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return fmt.Errorf("stat master key %s: %w", file.Name(), err)
	}
	mode, forbidden := st.Mode&0o7777, uint32(0o7177)
	if f.credential != "" && strings.HasPrefix(file.Name(), f.credential) {
		forbidden = 0o7137 // systemd lets the group of the service read
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return &KeyError{file.Name(), "is not a regular file", "put the key file itself there"}
	case st.Uid != 0 && st.Uid != f.owner:
		return &KeyError{file.Name(), fmt.Sprintf("belongs to uid %d, not to uid %d", st.Uid, f.owner), "see who had it and correct the owner"}
	case mode&forbidden != 0:
		return &KeyError{file.Name(), fmt.Sprintf("has mode %04o, not 0600", mode), "see who could read it and correct the mode"}
	case st.Size != masterLen:
		return &KeyError{file.Name(), fmt.Sprintf("has %d bytes, not %d", st.Size, masterLen), "restore it from a backup"}
	}
	return nil
}

func newMasterKey(secret []byte, path string) (masterKey, error) {
	id, err := hkdf.Key(sha256.New, secret, nil, "gosssd vault key id", len(keyID{}))
	if err != nil {
		return masterKey{}, fmt.Errorf("identify master key %s: %w", path, err)
	}
	return masterKey{id: keyID(id), secret: secret, path: path}, nil
}

// create makes a new master key at path, durably; a file that is already
// there is left alone and used.
func (f keyFiles) create(path string) (masterKey, error) {
	secret := make([]byte, masterLen)
	rand.Read(secret)
	err := linux.Create(path, 0o600, func(f *os.File) error {
		_, err := f.Write(secret)
		return err
	})
	clear(secret)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return masterKey{}, fmt.Errorf("make master key: %w", err)
	}
	return f.read(path)
}

// finish makes the key at next the current one, in one step.
func (f keyFiles) finish() error {
	if err := os.Rename(f.next, f.current); err != nil {
		return fmt.Errorf("replace master key: %w", err)
	}
	return linux.SyncDir(filepath.Dir(f.current))
}
