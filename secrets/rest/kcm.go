package rest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"gosssd/responder"
	"gosssd/secrets"
	"gosssd/secrets/quota"
	"gosssd/secrets/records"
	"gosssd/secrets/vault"
)

const (
	// pieceSize is about how many bytes of records are sent at once. With a
	// usual record more it fits into the buffer that a reader keeps.
	pieceSize = 48 << 10
	// freeSize is the size of requests and replies that are not counted: as
	// much as a connection has room for anyway.
	freeSize = 8 << 10
)

// isUpgrade recognises the request after which a connection is one of
// sssd_kcm.
func isUpgrade(r *http.Request) bool {
	return r.Method == http.MethodGet && r.Header.Get("Upgrade") == records.Protocol &&
		strings.EqualFold(r.Header.Get("Connection"), "upgrade")
}

// upgrade takes a connection over from net/http, which costs 0.1 ms for each
// request, and serves records on it until the client is gone.
func (s *service) upgrade(w http.ResponseWriter, r *http.Request) error {
	c := sessionOf(r)
	if !trusted(c.peer) {
		return errForbidden
	}
	conn, buffers, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return fmt.Errorf("take over the connection: %w", err)
	}
	defer func() { _ = conn.Close() }()
	var source io.Reader = conn
	if buffers.Reader.Buffered() > 0 {
		source = buffers.Reader
	}
	k := &kcmConn{service: s, client: c, in: records.NewReader(source), memory: s.kcmMemory.Open(c.peer.UID, c.cut)}
	defer k.memory.Close()
	_, err = io.WriteString(conn, records.UpgradeAnswer)
	for err == nil {
		err = k.serveOne()
	}
	s.noteClosed(c, err)
	return nil // the client is gone
}

// kcmConn is a connection of sssd_kcm after the upgrade.
type kcmConn struct {
	service *service
	client  *session
	in      *records.Reader
	memory  *responder.Holding
	out     []byte // of the answer: what was not sent yet
	some    int    // where in out a frame of records begins; -1: there is none
}

// serveOne reads and answers one request. After an error the client is gone.
func (k *kcmConn) serveOne() error {
	if err := k.in.Wait(); err != nil {
		return err
	}
	k.client.begin("unknown")
	if !k.in.Whole() { // usually it is, and there is no need for a deadline
		if err := k.client.SetReadDeadline(time.Now().Add(requestTimeout)); err != nil {
			return err
		}
		defer func() { _ = k.client.SetReadDeadline(time.Time{}) }() // if it fails, so will the next read
	}
	length, err := k.in.Length()
	if err != nil {
		return err
	}
	if length > freeSize {
		if err := k.memory.Take(length, requestTimeout); err != nil {
			return err
		}
		defer k.memory.Free()
	}
	frame, err := k.in.Next(batchLimit(k.service.settings.Load().kcm))
	if err != nil && !errors.Is(err, records.ErrTooLong) {
		return err
	}
	k.service.requests.Add(1)
	k.client.begin(frame.Kind.String())
	began := time.Now()
	if k.client.log.On(hclog.Debug) {
		k.client.log.Debug("request", "op", frame.Kind, "uid", k.client.peer.UID, "length", length)
	}
	k.out, k.some = k.out[:0], -1
	if err == nil {
		err = k.answer(frame)
		clear(frame.Content)
	}
	status, _ := statusOf(err)
	became := resultOf(frame.Kind.String(), status, err)
	err = k.finish(err)
	k.service.answered.add(opOfKind(frame.Kind), became, time.Since(began))
	return err
}

// batchLimit is the longest request that is taken: the largest secret, with
// lengths and keys, and with records of other caches.
func batchLimit(limits secrets.Quota) int64 { return limits.PayloadLimit() + 1<<20 }

// answer does what a request asks for, and sends or gathers its records.
func (k *kcmConn) answer(frame records.Frame) error {
	v, err := k.service.local.vault.get()
	if err != nil {
		return err
	}
	hive := v.Hive(kcmHive)
	ctx := context.Background() // a client that hangs up takes back no change that was begun
	if frame.Kind == records.Owners {
		uids, err := hive.Owners(ctx)
		for _, uid := range uids {
			if err == nil {
				err = k.send(strconv.FormatUint(uint64(uid), 10), []byte{})
			}
		}
		return err
	}
	subject, changes, err := records.CutSubject(frame.Content)
	if err != nil {
		return err
	}
	k.client.about = target{hive: kcmHive, uid: subject.UID}
	switch frame.Kind {
	case records.Load:
		if err := k.service.local.fences.raise(subject.UID, subject.Token, k.client.hungUp); err != nil {
			return err
		}
		return hive.Each(ctx, subject.UID, func(key string, value []byte) error {
			defer clear(value)
			return k.send(key, value)
		})
	case records.Commit:
		return k.commit(ctx, hive, subject, changes)
	}
	return errBadRequest
}

// commit makes changes, if they build on the last load.
func (k *kcmConn) commit(ctx context.Context, hive *vault.Hive, subject records.Subject, changes []byte) error {
	all, err := records.ParseMap(changes)
	if err != nil {
		return err
	}
	limits := k.service.settings.Load().kcm
	return k.service.local.fences.pass(subject.UID, subject.Token, func() error {
		return hive.CommitIf(ctx, subject.UID, all, func(view *vault.View) error {
			return quota.Check(limits, view, quota.KCM, all)
		})
	})
}

// send adds a record to the answer, and sends on what is enough.
func (k *kcmConn) send(key string, value []byte) error {
	if k.some < 0 {
		k.some = len(k.out)
		k.out = records.Begin(k.out, records.Some)
	}
	k.out = records.Append(k.out, key, value)
	if len(k.out) < pieceSize {
		return nil
	}
	return k.flush()
}

// flush sends what was gathered.
func (k *kcmConn) flush() error {
	if k.some >= 0 {
		records.End(k.out[k.some:])
		k.some = -1
	}
	if err := k.client.SetWriteDeadline(time.Now().Add(answerTimeout)); err != nil {
		return &sendError{err}
	}
	_, err := k.client.Write(k.out)
	clear(k.out)
	if k.out = k.out[:0]; cap(k.out) > 2*pieceSize {
		k.out = nil
	}
	if err != nil {
		return &sendError{err}
	}
	return nil
}

// sendError wraps errors of a client that does not take its answer.
type sendError struct{ error }

// finish ends an answer with its result.
func (k *kcmConn) finish(err error) error {
	var broken *sendError
	if errors.As(err, &broken) {
		return err
	}
	if k.some >= 0 {
		records.End(k.out[k.some:])
		k.some = -1
	}
	status, text := statusOf(err)
	if err != nil {
		k.service.note(k.client, status, err)
	}
	if errors.Is(err, vault.ErrFull) {
		status = records.DiskFull
	}
	if status >= http.StatusInternalServerError && err != nil {
		text = err.Error() // which goes into sssd_kcm's log
	}
	k.out = records.Result{Status: status, Text: text}.AppendTo(k.out)
	return k.flush()
}
