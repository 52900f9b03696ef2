package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gosssd/cmd/sssctl/output"
	"gosssd/layout"
	"gosssd/responder"
	"gosssd/secrets"
)

// vault is a database of sealed records that a responder keeps.
type vault interface {
	// rekey seals everything under a new master key, and tells how many
	// seconds that has taken so far.
	rekey(progress *progress) error
	damaged() ([]secrets.Damaged, error)
	repair(of secrets.Damaged) (secrets.Repaired, error)
	discard(of secrets.Damaged) error
	// holds says whose records are in it: "secrets and credential caches".
	holds() string
	// file is its database.
	file() string
}

// eachVault calls do with every vault there is; one that fails does not keep
// do from the others.
func (t *tool) eachVault(do func(vault) error) error {
	vaults := []vault{serviceVault{t}, kcmVault{t}}
	var problems []error
	found := false
	for _, v := range vaults {
		if _, err := os.Lstat(v.file()); errors.Is(err, os.ErrNotExist) {
			continue // its responder would make one
		}
		found = true
		if err := do(v); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", v.file(), err))
		}
	}
	if !found {
		return fmt.Errorf("there is nothing in %s yet", t.root.Path(responder.SecretsDir))
	}
	return errors.Join(problems...)
}

func (t *tool) secretsRekeyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rekey",
		Short: "Encrypt all secrets and credential caches anew, under new master keys",
		Long: "Encrypt all secrets and credential caches anew: those of the secrets service, and those that sssd_kcm keeps\n" +
			"itself (ccache_storage = secdb). Each database has a master key of its own.",
		Args: arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			return t.eachVault(func(v vault) error {
				progress := newProgress(c, "encrypting anew, seconds", 0)
				err := v.rekey(progress)
				progress.end()
				if err != nil {
					return fmt.Errorf("its %s are not all under a new master key: %w", v.holds(), err)
				}
				fmt.Fprintf(c.OutOrStdout(), "All %s in %s are encrypted under a new master key.\n", v.holds(), v.file())
				return nil
			})
		},
	}
}

func (t *tool) secretsCheckCommand() *cobra.Command {
	var printing *output.Options
	c := &cobra.Command{
		Use:   "check",
		Short: "List the users whose secrets or credential caches are damaged",
		Long: "Read all secrets and credential caches, and list the users who have some that are damaged. Others are not\n" +
			"affected by them. The exit code is 1 if there are any.",
		Args: arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error { return t.show(c, printing, t.checkVaults) },
	}
	printing = output.Add(c)
	return c
}

// damagedEntry is a user in the JSON of secrets check; sssctl(8) has the fields.
type damagedEntry struct {
	File   string `json:"file"`
	UID    uint32 `json:"uid"`
	Hive   string `json:"hive"`
	Reason string `json:"reason"`
}

// checkVaults lists what is damaged in all vaults.
func (t *tool) checkVaults() (output.Listing, error) {
	var text strings.Builder
	entries := []damagedEntry{}
	err := t.eachVault(func(v vault) error {
		damaged, err := v.damaged()
		for _, d := range damaged {
			fmt.Fprintf(&text, "%s: %s of uid %d: %s\n", v.file(), kindOf(d), d.UID, d.What)
			entries = append(entries, damagedEntry{v.file(), d.UID, d.Hive, d.What})
		}
		return err
	})
	switch {
	case err != nil:
	case len(entries) == 0:
		text.WriteString("Nothing is damaged.\n")
	default:
		text.WriteString("Restore the database from a backup, or use '" + layout.Current().Tool + " secrets repair UID' or '" + layout.Current().Tool + " secrets discard UID'.\n")
		err = errFound
	}
	return output.Listing{Text: text.String(), JSON: entries}, err
}

func kindOf(d secrets.Damaged) string {
	if d.Hive == kcmHive {
		return "credential caches"
	}
	return "secrets"
}

func (t *tool) secretsRepairCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "repair UID",
		Short: "Keep what can be read of a user's damaged secrets and caches",
		Long: "Keep those of a user's damaged secrets and credential caches that can be read, delete the others, and give up\n" +
			"those that are missing. What is not damaged is left alone.",
		Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			return t.mend(c, args[0], func(v vault, d secrets.Damaged) (string, error) {
				r, err := v.repair(d)
				return fmt.Sprintf("%d records are kept, %d are deleted", r.Kept, r.Deleted), err
			})
		},
	}
}

func (t *tool) secretsDiscardCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "discard UID",
		Short: "Delete a user's damaged secrets and caches",
		Long: "Delete all secrets of a user if some of them are damaged, and all credential caches of the user if some of\n" +
			"them are. What is not damaged is left alone.",
		Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			return t.mend(c, args[0], func(v vault, d secrets.Damaged) (string, error) {
				return "all are deleted", v.discard(d)
			})
		},
	}
}

// mend does something about everything of one user that is damaged.
func (t *tool) mend(c *cobra.Command, user string, do func(vault, secrets.Damaged) (string, error)) error {
	uid, err := strconv.ParseUint(user, 10, 32)
	if err != nil {
		return fmt.Errorf("%s is not a UID", printable(user))
	}
	found := false
	err = t.eachVault(func(v vault) error {
		damaged, err := v.damaged()
		if err != nil {
			return err
		}
		var problems []error
		for _, d := range damaged {
			if uint64(d.UID) != uid {
				continue
			}
			found = true
			done, err := do(v, d)
			if err != nil {
				problems = append(problems, err)
				continue
			}
			fmt.Fprintf(c.OutOrStdout(), "%s: %s of uid %d: %s.\n", v.file(), kindOf(d), d.UID, done)
		}
		return errors.Join(problems...)
	})
	if err == nil && !found {
		fmt.Fprintf(c.OutOrStdout(), "Nothing of uid %d is damaged.\n", uid)
	}
	return err
}

// kcmHive is the word for credential caches.
const kcmHive = "kcm"

// serviceVault is the vault of the secrets service.
type serviceVault struct{ t *tool }

func (serviceVault) holds() string { return "secrets and credential caches" }

func (v serviceVault) file() string { return v.t.root.Path(responder.SecretsDir + "/secrets.db") }

func (v serviceVault) ask(method, what string, result any) error {
	body, err := v.t.secret(request{method: method, base: "/vault/", name: what})
	if err != nil || result == nil {
		return err
	}
	return json.Unmarshal(body, result)
}

func (v serviceVault) rekey(progress *progress) error {
	done := make(chan error, 1)
	go func() { done <- v.ask(http.MethodPost, "rekey", nil) }()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for seconds := 1; ; seconds++ {
		select {
		case err := <-done:
			return err
		case <-second.C:
			progress.at(seconds)
		}
	}
}

func (v serviceVault) damaged() (all []secrets.Damaged, err error) {
	err = v.ask(http.MethodGet, "damaged", &all)
	slices.SortFunc(all, func(a, b secrets.Damaged) int { return int(int64(a.UID) - int64(b.UID)) })
	return all, err
}

func (v serviceVault) repair(of secrets.Damaged) (r secrets.Repaired, err error) {
	err = v.ask(http.MethodPost, fmt.Sprintf("repair/%s/%d", of.Hive, of.UID), &r)
	return r, err
}

func (v serviceVault) discard(of secrets.Damaged) error {
	return v.ask(http.MethodPost, fmt.Sprintf("discard/%s/%d", of.Hive, of.UID), nil)
}

// kcmVault is the vault of sssd_kcm, which has one where ccache_storage is or
// was secdb.
type kcmVault struct{ t *tool }

func (kcmVault) holds() string { return "credential caches" }

func (v kcmVault) file() string { return v.t.root.Path(responder.SecretsDir + "/kcm.db") }

// call calls a method of the kcm responder.
func (v kcmVault) call(method string, args []any, results ...any) error {
	m, err := v.t.openMover()
	if err != nil {
		return err
	}
	defer m.Close()
	var present bool
	if err := m.callKCM(method, args, append([]any{&present}, results...)); err != nil {
		return err
	}
	if !present {
		return errors.New("sssd_kcm does not find it")
	}
	return nil
}

// rekey asks again and again, since each call lasts for a second at most.
func (v kcmVault) rekey(progress *progress) error {
	began := time.Now()
	for done := false; !done; progress.at(int(time.Since(began) / time.Second)) {
		if err := v.call("RekeyCaches", nil, &done); err != nil {
			return err
		}
	}
	return nil
}

func (v kcmVault) damaged() (all []secrets.Damaged, err error) {
	var uids []uint32
	var reasons []string
	if err := v.call("DamagedCaches", nil, &uids, &reasons); err != nil {
		return nil, err
	}
	for i, uid := range uids {
		all = append(all, secrets.Damaged{Hive: kcmHive, UID: uid, What: reasons[i]})
	}
	return all, nil
}

func (v kcmVault) repair(of secrets.Damaged) (secrets.Repaired, error) {
	var kept, deleted uint32
	err := v.call("RepairCaches", []any{of.UID}, &kept, &deleted)
	return secrets.Repaired{Kept: int(kept), Deleted: int(deleted)}, err
}

func (v kcmVault) discard(of secrets.Damaged) error {
	return v.call("DiscardCaches", []any{of.UID})
}
