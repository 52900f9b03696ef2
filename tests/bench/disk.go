package main

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// appending appends a ticket's size to a file and waits for the disk: what one
// writer reaches who does nothing else. The socket of the task is the directory.
func appending(c *client) (func() error, error) {
	f, err := bareFile(c)
	if err != nil {
		return nil, err
	}
	b := make([]byte, len(ticket(0)))
	return func() error {
		if _, err := f.Write(b); err != nil {
			return err
		}
		return unix.Fdatasync(int(f.Fd()))
	}, nil
}

// overwriting writes as much into a file that has its size, so that the disk
// has no new size of it to note: what a disk can do at best.
func overwriting(c *client) (func() error, error) {
	f, err := bareFile(c)
	if err != nil {
		return nil, err
	}
	const blocks, block = 256, 4096
	if _, err := f.Write(make([]byte, blocks*block)); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	b := make([]byte, len(ticket(0)))
	return func() error {
		c.number++
		if _, err := f.WriteAt(b, int64(c.number%blocks)*block); err != nil {
			return err
		}
		return unix.Fdatasync(int(f.Fd()))
	}, nil
}

// bareFile makes a file that has no name.
func bareFile(c *client) (*os.File, error) {
	f, err := os.CreateTemp(c.task.Socket, "bare")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}

// secretWriting stores a secret over the secrets service's socket and deletes
// it again, over a kept connection.
func secretWriting(c *client) (func() error, error) {
	path := fmt.Sprintf("/secrets/bench%d", c.task.Client)
	body := strings.Repeat("s", len(ticket(0)))
	head := " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"
	requests := []string{
		http.MethodPut + " " + path + head + "Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body,
		http.MethodDelete + " " + path + head + "\r\n",
	}
	service, err := dialRaw(c.task.Socket)
	if err != nil {
		return nil, err
	}
	in := make([]byte, 64<<10)
	if _, err := service.http(requests[1], in); err != nil { // of an earlier run
		return nil, err
	}
	return func() error {
		status, err := service.http(requests[c.number%2], in)
		c.number++
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("the request was answered with %d", status)
		}
		return err
	}, nil
}

// http sends a request and returns the status, after the whole answer is read
// into in.
func (s rawSocket) http(request string, in []byte) (status int, err error) {
	if _, err := s.Write([]byte(request)); err != nil {
		return 0, err
	}
	for have := 0; have < len(in); {
		n, err := s.Read(in[have:])
		if err != nil {
			return 0, fmt.Errorf("the service hung up: %w", err)
		}
		have += n
		head, body, whole := strings.Cut(string(in[:have]), "\r\n\r\n")
		if _, length, found := strings.Cut(head, "\r\nContent-Length: "); whole && found {
			length, _, _ = strings.Cut(length, "\r\n")
			if want, err := strconv.Atoi(length); err != nil || len(body) >= want {
				return strconv.Atoi(strings.Fields(head)[1])
			}
		}
	}
	return 0, fmt.Errorf("the answer is too long")
}
