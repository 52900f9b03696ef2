package main

import (
	"gosssd/kcm"
	"gosssd/kcm/logins"
)

// sessions tells of the machine's login sessions.
type sessions struct {
	*logins.Machine
	*logins.Watch
}

var _ kcm.Sessions = sessions{}

func openSessions() (kcm.Sessions, error) {
	machine, err := logins.Open()
	if err != nil {
		return nil, err
	}
	watch, err := machine.Watch()
	return sessions{machine, watch}, err
}
