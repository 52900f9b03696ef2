package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func (t *tool) importCommand() *cobra.Command {
	again := false
	c := &cobra.Command{
		Use:   "import",
		Short: "Copy the caches of SSSD's own sssd_kcm",
		Long: "Copy all users' credential caches from secrets.ldb, where SSSD's own sssd_kcm keeps them, into the storage in\n" +
			"use. The database is only read. A user who has the cache already, or a newer one of the same name, keeps that.\n" +
			"A database that has been imported is not imported again, since what was destroyed meanwhile would come back.",
		Args: arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error { return t.importAll(c, again) },
	}
	c.Flags().BoolVar(&again, "again", false, "import also what has been imported before")
	return c
}

func (t *tool) importAll(c *cobra.Command, again bool) error {
	m, err := t.openMover()
	if err != nil {
		return err
	}
	defer m.Close()
	var doneBefore bool
	var users, imported, present uint32
	var problems []string
	if err := m.callKCM("ImportCaches", []any{again}, []any{&doneBefore, &users, &imported, &present, &problems}); err != nil {
		return err
	}
	if doneBefore {
		fmt.Fprintln(c.OutOrStdout(), "The database has been imported before and has not changed; --again imports it once more")
		return nil
	}
	fmt.Fprintf(c.OutOrStdout(), "From SSSD's sssd_kcm: users %d, caches imported %d, present already %d\n", users, imported, present)
	var left []error
	for _, problem := range problems {
		left = append(left, fmt.Errorf("not imported: %s", problem))
	}
	return errors.Join(left...)
}
