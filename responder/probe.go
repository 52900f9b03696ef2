package responder

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gosssd/linux"
)

// Probe is a request that succeeds wherever a responder is well, whoever asks.
type Probe struct {
	Request []byte
	// Answer looks at what has come so far. It reports whether that is the
	// whole answer, and if so what it says is wrong.
	Answer func(in []byte) (whole bool, err error)
}

// maxProbeAnswer bounds the bytes of an answer that are looked at.
const maxProbeAnswer = 64 << 10

// Try asks the responder that serves at a socket, and returns what is wrong
// with its answer. Where nobody serves, the socket may have somebody started.
func (p Probe) Try(ctx context.Context, socket string) error {
	if p.Answer == nil {
		return nil
	}
	c, err := linux.Dial(ctx, socket)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
	if _, err := c.Write(p.Request); err != nil {
		return fmt.Errorf("it takes no request: %w", err)
	}
	answer := make([]byte, 0, maxProbeAnswer)
	for len(answer) < cap(answer) {
		n, err := c.Read(answer[len(answer):cap(answer)])
		answer = answer[:len(answer)+n]
		if whole, said := p.Answer(answer); whole {
			return said
		}
		switch {
		case ctx.Err() != nil:
			return errors.New("it does not answer requests")
		case err != nil:
			return errors.New("it breaks off instead of answering requests")
		}
	}
	return errors.New("its answer to a request has no end")
}
