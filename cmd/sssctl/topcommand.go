package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/gdamore/tcell/v2"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"gosssd/cmd/sssctl/top"
	"gosssd/kcm"
)

// The intervals of top: the usual one, and the shortest.
const (
	topEvery = 2 * time.Second
	topLeast = 500 * time.Millisecond
	topUsers = 8000 // as many as sssd_kcm tells of
)

func (t *tool) topCommand() *cobra.Command {
	var every time.Duration
	c := &cobra.Command{
		Use:   "top",
		Short: "Show live who has most caches, and who asks for most",
		Long: "Show live which users have most caches and bytes, and ask for most, as far as sssd_kcm knows without its storage:\n" +
			"those who have called since it started. Keys sort and filter; h explains them.",
		Args: arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case every < topLeast:
				return &usageError{c, fmt.Sprintf("--interval: the shortest is %v", topLeast)}
			case !term.IsTerminal(int(os.Stdin.Fd())), !term.IsTerminal(int(os.Stdout.Fd())):
				return errors.New("top needs a terminal; 'status --watch' prints to files and pipes")
			case os.Getenv("TERM") == "" || os.Getenv("TERM") == "dumb":
				return fmt.Errorf("top needs a terminal that can move its cursor, and TERM is %q; 'status --watch' needs none", os.Getenv("TERM"))
			}
			return t.top(every)
		},
	}
	c.Flags().DurationVar(&every, "interval", topEvery, "look again after each `INTERVAL`, as 5s")
	return c
}

func (t *tool) top(every time.Duration) error {
	m, err := t.openMover()
	if err != nil {
		return err
	}
	defer m.Close()
	screen, err := tcell.NewScreen()
	if err == nil {
		err = screen.Init()
	}
	if err != nil {
		return fmt.Errorf("the terminal (TERM is %q) cannot be used: %w", os.Getenv("TERM"), err)
	}
	defer screen.Fini()
	names := map[uint32]string{}
	top.Run(context.Background(), screen, every, func() top.State { return m.topState(names) })
	return nil
}

// topState asks sssd_kcm once. names keeps those of users, which are looked up
// once.
func (m *mover) topState(names map[uint32]string) top.State {
	var known uint32
	var used []kcm.Used
	if err := m.callKCM("UserUsage", []any{"requests", uint32(topUsers)}, []any{&known, &used}); err != nil {
		return top.State{Err: err}
	}
	state := top.State{At: time.Now()}
	var caches, requests uint64
	for _, u := range used {
		name, looked := names[u.UID]
		if !looked {
			name = userName(u.UID)
			names[u.UID] = name
		}
		caches, requests = caches+u.Caches, requests+u.Requests
		state.Users = append(state.Users, top.User{UID: u.UID, Name: name, Caches: u.Caches, Credentials: u.Credentials, Bytes: u.Bytes,
			Requests: u.Requests, Unserved: u.Unserved, Fullness: u.Fullness})
	}
	state.Head = fmt.Sprintf("sssd_kcm at %s: %d users, %d caches, %d requests", state.At.Format(time.TimeOnly), known, caches, requests)
	return state
}
