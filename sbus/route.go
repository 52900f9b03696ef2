package sbus

import (
	"context"
	"errors"
	"slices"

	"github.com/godbus/dbus/v5"
)

// handle takes one message of a peer to where it belongs. An error ends the
// connection.
func (s *Server) handle(ctx context.Context, p *peer, f *frame) error {
	dest := f.text(dbus.FieldDestination)
	if p.monitoring {
		return errors.New("a monitor may not send")
	}
	if !p.named && dest != "" && !isHello(f) {
		s.refuse(p, f, Errorf(ErrorAccessDenied, "say Hello first, or leave out the destination"))
		return nil
	}
	if err := s.receive(p, f); err != nil {
		return err
	}
	switch dest {
	case "", MonitorName, selfName:
		s.deliver(ctx, p, f)
	case BusName:
		s.callBus(ctx, p, f)
	default:
		s.forward(p, f, dest)
	}
	return nil
}

// receive stamps a message with its sender and shows it to the monitors. A burst
// of messages is taken no faster than those can read who have asked to see them.
func (s *Server) receive(p *peer, f *frame) error {
	sender := ""
	if p.named {
		sender = p.unique()
	}
	if err := f.setSender(sender); err != nil {
		return err
	}
	for _, slow := range s.slowObservers(f) {
		slow.awaitRoom()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.capture(f)
	return nil
}

// deliver takes a message for the server itself. A signal without destination
// is for all who have asked for it.
func (s *Server) deliver(ctx context.Context, p *peer, f *frame) {
	switch {
	case f.isReply():
		p.answered(f)
	case f.kind == dbus.TypeSignal && p.named:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.broadcast(f)
	case f.kind == dbus.TypeSignal:
		p.log.Debug("ignoring a signal sent before Hello", "member", f.text(dbus.FieldMember))
	case f.text(dbus.FieldInterface) == PeerInterface:
		s.callObject(ctx, p, p.caller(), f)
	default:
		caller := p.caller()
		if !p.queueHandler(func(ctx context.Context) { s.callObject(ctx, p, caller, f) }) {
			s.refuse(p, f, Errorf(ErrorLimitsExceeded, "%d calls wait already", maxJobs))
		}
	}
}

// callObject calls one of the server's own objects and answers.
func (s *Server) callObject(ctx context.Context, p *peer, caller Caller, f *frame) {
	results, err := s.objects.call(ctx, caller, f)
	s.reply(p, f, reply{sender: selfName, results: results, err: err})
}

// forward passes a message on to another peer. A receiver that does not keep up
// with what others send it costs the sender the message, and not the receiver
// its connection: else one peer could end another's.
func (s *Server) forward(p *peer, f *frame, dest string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to := s.lookup(dest)
	var err error
	switch {
	case f.isReply():
		s.forwardReply(p, to, f)
	case to == nil:
		err = Errorf(ErrorServiceUnknown, "no peer is named %s", dest)
	case f.wantsReply():
		err = s.forwardCall(p, to, f)
	default:
		err = to.offerUnasked(f)
	}
	if err == nil {
		return
	}
	if f.wantsReply() {
		s.answer(p, f.serial, reply{sender: BusName, err: err})
		return
	}
	p.log.Debug("dropping a message", "to", dest, "error", err)
}

func (s *Server) forwardCall(p, to *peer, f *frame) error {
	id := callID{p.id, f.serial}
	if _, used := to.unanswered[id]; used || p.outstanding >= maxOutstanding {
		return Errorf(ErrorLimitsExceeded, "too many calls wait for an answer")
	}
	if err := to.offerUnasked(f); err != nil {
		return Errorf(ErrorLimitsExceeded, "%v", err)
	}
	to.unanswered[id] = struct{}{}
	p.outstanding++
	return nil
}

// forwardReply passes a reply on if it was asked for.
func (s *Server) forwardReply(p, to *peer, f *frame) {
	if to == nil {
		return // the caller has left
	}
	id := callID{to.id, f.replySerial()}
	if _, owed := p.unanswered[id]; !owed {
		p.log.Debug("dropping a reply nobody asked for", "to", to.unique())
		return
	}
	delete(p.unanswered, id)
	to.outstanding--
	to.send(f)
}

// slowObservers returns the peers that will be sent a message because they have
// asked for its like, and have not yet read much of what they were sent before.
func (s *Server) slowObservers(f *frame) (slow []*peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.peers {
		if p.halfFull() && (s.monitors(p, f) || s.subscribes(p, f)) {
			slow = append(slow, p)
		}
	}
	return slow
}

// monitors reports whether a peer is a monitor that wants to see a message.
func (s *Server) monitors(p *peer, f *frame) bool {
	return p.monitoring && f.text(dbus.FieldDestination) != p.unique() && (len(p.rules) == 0 || s.anyMatches(p.rules, f))
}

// subscribes reports whether a peer has a rule for a signal to everyone.
func (s *Server) subscribes(p *peer, f *frame) bool {
	return p.named && !p.monitoring && f.kind == dbus.TypeSignal && f.text(dbus.FieldDestination) == "" && s.anyMatches(p.rules, f)
}

// broadcast sends a signal to the peers that have a rule for it.
func (s *Server) broadcast(f *frame) {
	for _, p := range s.peers {
		if s.subscribes(p, f) {
			p.send(f)
		}
	}
}

// capture shows a message to the monitors.
func (s *Server) capture(f *frame) {
	for _, p := range s.peers {
		if s.monitors(p, f) {
			p.send(f)
		}
	}
}

func (s *Server) anyMatches(rules []rule, f *frame) bool {
	owns := func(name string) bool {
		owner := s.names.owner(name)
		return owner != "" && owner == f.text(dbus.FieldSender)
	}
	return slices.ContainsFunc(rules, func(r rule) bool { return r.matches(f, owns) })
}

// refuse answers a call with an error in the name of the bus.
func (s *Server) refuse(p *peer, f *frame, err error) {
	s.reply(p, f, reply{sender: BusName, err: err})
}

// reply answers a call if it wants an answer.
func (s *Server) reply(p *peer, call *frame, r reply) {
	if call.wantsReply() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.answer(p, call.serial, r)
	}
}

// answer sends the answer to the call with that serial. Peers that have no name
// are not told of names.
func (s *Server) answer(p *peer, serial uint32, r reply) {
	r.to, r.dest = serial, p.unique()
	if !p.named {
		r.sender, r.dest = "", ""
	}
	f := r.frame(nextSerial(&s.serials))
	s.capture(f)
	p.send(f)
}
