package responder

import (
	"net"
	"os"
	"strings"
	"time"
)

// notifyTime bounds how long a service manager that does not listen can hold
// a process up.
const notifyTime = time.Second

// Notify tells the service manager, if there is one, about the state of the
// process (sd_notify(3)). What it does not take in time is dropped.
func Notify(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	if name, abstract := strings.CutPrefix(path, "@"); abstract {
		path = "\x00" + name
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	if conn.SetWriteDeadline(time.Now().Add(notifyTime)) == nil {
		_, _ = conn.Write([]byte(state))
	}
}
