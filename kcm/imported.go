package kcm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"gosssd/kcm/ldb"
	"gosssd/sbus"
)

// importCaches is the method of the bus that copies the caches of SSSD's own
// sssd_kcm. With again = false a database that was imported before is left
// out: a cache that its owner has destroyed since must not come back.
const importCaches = "ImportCaches"

func importMethod() sbus.Method {
	return sbus.Method{Name: importCaches, In: []sbus.Arg{{Name: "again", Type: "b"}}, Out: []sbus.Arg{
		{Name: "done_before", Type: "b"}, {Name: "users", Type: "u"}, {Name: "imported", Type: "u"},
		{Name: "present", Type: "u"}, {Name: "problems", Type: "as"},
	}}
}

// imported is what became of the caches of SSSD's own sssd_kcm.
type imported struct {
	doneBefore bool     // this database was imported already, and nothing was done
	users      uint32   // who have caches in it
	caches     uint32   // that were imported
	present    uint32   // that were left out, since the user has the cache or a newer one of the name
	problems   []string // records that were left out, and why
}

func (r imported) results() []any {
	return []any{r.doneBefore, r.users, r.caches, r.present, r.problems}
}

// importAll imports the database, each user's caches in one commit. It may be
// interrupted at any time and begun again. A user whose caches cannot be
// stored does not keep the others from theirs.
func (s *Server) importAll(ctx context.Context, again bool) (r imported, err error) {
	s.moving.Lock()
	defer s.moving.Unlock()
	file, err := s.stores.SSSD()
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	} else if err != nil {
		return r, err
	}
	digest := sha256.Sum256(file)
	if !again {
		if r.doneBefore, err = s.wasImported(ctx, digest[:]); r.doneBefore || err != nil {
			return r, err
		}
	}
	users, damaged, err := ldb.Read(file)
	if err != nil {
		return r, err
	}
	for _, d := range damaged {
		r.problems = append(r.problems, d.Error())
	}
	outcomes := make([]imported, len(users))
	failures := make([]error, len(users))
	var group sync.WaitGroup
	slots := make(chan struct{}, maxImports)
	for i, user := range users {
		slots <- struct{}{}
		group.Go(func() {
			outcomes[i], failures[i] = s.importUser(ctx, user)
			<-slots
		})
	}
	group.Wait()
	for _, o := range outcomes {
		r.users++
		r.caches += o.caches
		r.present += o.present
		r.problems = append(r.problems, o.problems...)
	}
	s.users.log.Info("caches of SSSD's own sssd_kcm are imported", "users", r.users,
		"imported", r.caches, "present", r.present, "problems", len(r.problems))
	if err := errors.Join(failures...); err != nil {
		return r, err
	}
	return r, s.setImported(ctx, digest[:])
}

// maxImports bounds the users whose caches are stored at the same time, so
// that they share flushes of the disk.
const maxImports = 16

// importUser copies the caches of one user. No limit refuses what the user had
// already.
func (s *Server) importUser(ctx context.Context, user ldb.User) (r imported, err error) {
	old := &state{preferred: user.Default}
	for _, c := range user.Caches {
		next, err := importedCache(user.UID, c, s.stores.Group(user.UID))
		if err != nil {
			r.problems = append(r.problems, fmt.Sprintf("cache %q of uid %d: %v", c.Name, user.UID, err))
			continue
		}
		old.caches = append(old.caches, next)
	}
	err = s.users.of(user.UID).apply(ctx, func(e *edit) error {
		r.caches, r.present = e.takeOver(old)
		return nil
	})
	if err != nil {
		return imported{}, fmt.Errorf("uid %d: %w", user.UID, err)
	}
	return r, nil
}

// importedCache makes a cache out of what SSSD had stored.
func importedCache(uid uint32, from ldb.Cache, gid uint32) (*cache, error) {
	if !mayCreate(uid, []byte(from.Name)) || strings.Contains(from.Name, "\x00") {
		return nil, errName
	}
	creds := make([]*credential, 0, len(from.Credentials))
	for _, raw := range from.Credentials {
		cred, err := decodeCredential(0, encodeCredential(raw))
		if err != nil {
			return nil, err
		}
		creds = append(creds, cred)
	}
	c := &cache{id: from.UUID, name: from.Name, gid: gid, mode: defaultMode, offset: knownOffset(from.Offset), principal: slices.Clone(from.Principal), used: new(atomic.Int64)}
	_, c.generated = numberOf(uid, []byte(from.Name)) // SSSD does not note whose idea a name was
	return c.filled(creds), nil
}

// wasImported reports whether the database with this digest, or the archive
// with this ID, was imported into the storage in use.
func (s *Server) wasImported(ctx context.Context, digest []byte) (bool, error) {
	root := s.users.of(rootUID)
	state, err := root.view(ctx)
	if err != nil {
		return false, err
	}
	return isKnown(state.imported, digest), nil
}

// isKnown reports whether a digest is one of a row of digests.
func isKnown(row, digest []byte) bool {
	for known := range slices.Chunk(row, sha256.Size) {
		if bytes.Equal(known, digest) {
			return true
		}
	}
	return false
}

// setImported notes the digest with root's records, where it ends with the
// storage that the caches were brought into. The oldest ones are forgotten.
func (s *Server) setImported(ctx context.Context, digest []byte) error {
	return s.users.of(rootUID).apply(ctx, func(e *edit) error {
		if isKnown(e.imported, digest) {
			return nil
		}
		row := append(slices.Clone(e.imported), digest...)
		e.imported = row[max(len(row)-maxKnown*sha256.Size, 0):]
		e.records[importedKey] = e.imported
		return nil
	})
}
