package sbus

import (
	"net"

	"gosssd/linux"
)

const socketMode = 0o600

// Listen makes the socket of the private bus, with mode 0600 whatever the
// umask. A socket that is left at the path is replaced in one step, so that the
// path never stops existing; anything else there is an error. That nobody
// listens at the path any more is for the caller to know.
func Listen(path string) (*net.UnixListener, error) { return linux.Listen(path, socketMode) }
