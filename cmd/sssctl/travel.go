package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"gosssd/kcm/archive"
	"gosssd/linux"
)

// maxPiece bounds what is sent of a user's records in one message of the bus.
const maxPiece = 512 << 10

func (t *tool) ccacheExportCommand() *cobra.Command {
	var of []string
	var all bool
	var k keys
	c := &cobra.Command{
		Use:   "export FILE",
		Short: "Write caches into a sealed file, for another host",
		Long: "Write the credential caches of users into FILE, sealed with age for recipients or with a passphrase, so that\n" +
			"'ccache import' can bring them to another host. The caches stay where they are. FILE must not exist.",
		Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			if all == (len(of) > 0) {
				return &usageError{c, "choose one of --user and --all"}
			}
			recipients, err := k.recipients(c)
			if err != nil {
				return err
			}
			m, err := t.openMover()
			if err != nil {
				return err
			}
			defer m.Close()
			uids, err := m.ownersOr(of)
			if err != nil {
				return err
			}
			return m.export(c, args[0], uids, recipients)
		},
	}
	c.Flags().StringArrayVar(&of, "user", nil, "export the caches of `USER`, by name or number; may be repeated")
	c.Flags().BoolVar(&all, "all", false, "export the caches of all users")
	c.Flags().StringArrayVar(&k.to, "recipient", nil, "seal for `RECIPIENT`, a public key of age; may be repeated")
	k.passphraseFlags(c)
	return c
}

// export writes the archive whole or not at all.
func (m *mover) export(c *cobra.Command, path string, uids []uint32, recipients []age.Recipient) error {
	users := 0
	progress := newProgress(c, "users", len(uids))
	err := linux.Create(path, 0o600, func(file *os.File) error {
		sealed, err := age.Encrypt(file, recipients...)
		if err != nil {
			return err
		}
		var id [archive.IDSize]byte
		if _, err := rand.Read(id[:]); err != nil {
			return err
		}
		w := archive.NewWriter(sealed, id)
		for i, uid := range uids {
			progress.at(i)
			some, err := m.exportUser(w, uid)
			if err != nil {
				return err
			}
			if some {
				users++
			}
		}
		return errors.Join(w.Close(), sealed.Close())
	})
	progress.end()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	fmt.Fprintf(c.OutOrStdout(), "To %s: users %d\n", path, users)
	return nil
}

// exportUser adds a user's caches to an archive; some is false if there are none.
func (m *mover) exportUser(w *archive.Writer, uid uint32) (some bool, err error) {
	var records bytes.Buffer
	for total := uint64(1); uint64(records.Len()) < total; {
		var piece []byte
		if err := m.callKCM("ExportRecords", []any{uid, uint64(records.Len())}, []any{&piece, &total}); err != nil {
			return false, fmt.Errorf("uid %d: %w", uid, err)
		}
		records.Write(piece)
	}
	if records.Len() == 0 {
		return false, nil
	}
	name := ""
	if account, err := user.LookupId(strconv.FormatUint(uint64(uid), 10)); err == nil {
		name = account.Username
	}
	if err := w.User(archive.User{UID: uid, Name: name}); err != nil {
		return false, err
	}
	for {
		r, err := archive.ReadRecord(&records)
		if errors.Is(err, io.EOF) {
			return true, nil
		} else if err != nil {
			return false, err
		}
		if err := w.Record(r); err != nil {
			return false, err
		}
	}
}

func (t *tool) ccacheImportCommand() *cobra.Command {
	again := false
	var k keys
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "Bring caches from a sealed file of another host",
		Long: "Bring the credential caches that 'ccache export' has written into FILE on another host. A user who has the cache\n" +
			"already, or a newer one of the same name, keeps that. A file that has been imported is not imported again, since\n" +
			"what was destroyed meanwhile would come back. If the file is damaged, nothing of it is imported.",
		Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			identities, err := k.identities(c)
			if err != nil {
				return err
			}
			file, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer func() { _ = file.Close() }()
			users := 0
			id, err := readSealed(file, identities, func(archive.User) error { users++; return nil }, func(archive.Record) error { return nil })
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			m, err := t.openMover()
			if err != nil {
				return err
			}
			defer m.Close()
			return m.importFile(c, file, identities, id, users, again)
		},
	}
	c.Flags().StringVar(&k.file, "identity", "", "open with the private keys of age in `FILE`")
	c.Flags().BoolVar(&again, "again", false, "import also what has been imported before")
	k.passphraseFlags(c)
	return c
}

// importFile imports an archive that was found to be whole.
func (m *mover) importFile(c *cobra.Command, file *os.File, identities []age.Identity, id [archive.IDSize]byte, users int, again bool) error {
	var done bool
	if err := m.callKCM("WasImported", []any{id[:]}, []any{&done}); err != nil {
		return err
	}
	if done && !again {
		fmt.Fprintln(c.OutOrStdout(), "The file has been imported before; --again imports it once more")
		return nil
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	arrival := &arrival{mover: m, progress: newProgress(c, "users", users)}
	_, err := readSealed(file, identities, arrival.user, arrival.record)
	if err == nil {
		err = arrival.finish()
	}
	if err == nil && len(arrival.problems) == 0 {
		err = m.callKCM("SetImported", []any{id[:]}, nil)
	}
	arrival.progress.end()
	fmt.Fprintf(c.OutOrStdout(), "From the file: users %d, caches imported %d, present already %d\n", arrival.users, arrival.imported, arrival.present)
	return errors.Join(append(arrival.problems, err)...)
}

// arrival collects the records of one user after the other, and hands them over.
type arrival struct {
	*mover
	progress *progress
	seen     int // users that have begun
	current  archive.User
	skip     bool // the current user's caches are not imported
	begun    bool
	records  bytes.Buffer
	users    uint32
	imported uint32
	present  uint32
	problems []error
}

func (a *arrival) user(u archive.User) error {
	if err := a.finish(); err != nil {
		return err
	}
	a.progress.at(a.seen)
	a.seen++
	a.current, a.begun, a.skip = u, true, false
	if err := sameUser(u); err != nil {
		a.skip = true
		a.problems = append(a.problems, err)
	}
	return nil
}

func (a *arrival) record(r archive.Record) error {
	if !a.skip {
		a.records.Write(archive.AppendRecord(nil, r))
	}
	return nil
}

// finish hands over what there is of the current user.
func (a *arrival) finish() error {
	if !a.begun || a.skip {
		return nil
	}
	a.begun = false
	defer a.records.Reset()
	whole := a.records.Bytes()
	for from := 0; ; from += maxPiece {
		piece := whole[from:min(from+maxPiece, len(whole))]
		last := from+len(piece) == len(whole)
		var imported, present uint32
		var problems []string
		err := a.callKCM("ImportRecords", []any{a.current.UID, uint64(from), piece, last}, []any{&imported, &present, &problems})
		if errors.Is(err, errEnded) {
			return err
		}
		for _, problem := range problems {
			a.problems = append(a.problems, fmt.Errorf("not imported: %s", problem))
		}
		if err != nil { // the others' may still be imported
			a.problems = append(a.problems, err)
			return nil
		}
		if last {
			a.users, a.imported, a.present = a.users+1, a.imported+imported, a.present+present
			return nil
		}
	}
}

// sameUser refuses to give a user's tickets to another one, who has the number
// on this host.
func sameUser(u archive.User) error {
	if u.Name == "" {
		return nil
	}
	number := strconv.FormatUint(uint64(u.UID), 10)
	here, err := user.LookupId(number)
	if err == nil && here.Username != u.Name {
		return fmt.Errorf("the caches of %s are not imported: on this host uid %s is %s", u.Name, number, here.Username)
	}
	if account, err := user.Lookup(u.Name); err == nil && account.Uid != number {
		return fmt.Errorf("the caches of %s are not imported: on this host %s is uid %s, not %s", u.Name, u.Name, account.Uid, number)
	}
	return nil
}

// readSealed opens an archive and reads it to its end.
func readSealed(from io.Reader, identities []age.Identity, user func(archive.User) error, record func(archive.Record) error) (id [archive.IDSize]byte, err error) {
	opened, err := age.Decrypt(from, identities...)
	if none := (*age.NoIdentityMatchError)(nil); errors.As(err, &none) {
		return id, errors.New("it is sealed for other keys, or with another passphrase")
	} else if err != nil {
		return id, fmt.Errorf("it is not sealed with age, or it is damaged: %w", err)
	}
	return archive.Read(sealedReader{opened}, user, record)
}

// sealedReader says of what does not open that it is damaged.
type sealedReader struct{ io.Reader }

func (r sealedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("it is damaged: %w", err)
	}
	return n, err
}
