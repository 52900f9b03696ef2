package kcm

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"gosssd/confdb"
	"gosssd/kcm/renewal"
	"gosssd/linux"
	"gosssd/responder"
	"gosssd/responder/log"
)

// Server is the working part of the responder.
type Server struct {
	users    *users
	settings atomic.Pointer[settings]
	now      func() time.Time
	clock    *clock
	random   io.Reader
	memory   *responder.Budget // of requests and replies on their way
	replies  replies
	measures measures
	dropped  atomic.Uint64 // clients that were disconnected
	foreign  atomic.Uint64 // users whose caches root has reached, each once for a connection

	residentBefore int64            // what was in memory when memory was last given back; of the maintenance goroutine
	spare          *responder.Spare // of the maintenance goroutine

	doubted bool // the log says that the wall clock is in doubt; of the maintenance goroutine

	guard     guard      // whose TGTs keep their keys here
	forwards  bool       // although guarded, forwarded TGTs are handed out
	obtaining *obtaining // nil: clients get their tickets themselves

	renewing *renewing   // nil: tickets are not renewed
	hooks    *hooking    // nil: nobody is told what becomes of tickets
	bound    *bound      // nil: no cache ends with a session
	surveyed atomic.Bool // they know the tickets of all users, or there is none of them

	stores      Stores
	moving      sync.Mutex // held while caches are brought from another storage
	traveller   traveller  // guarded by moving
	travelLimit uint64     // maxTravel, or less in a test

	stopMaintenance context.CancelFunc
	maintenance     sync.WaitGroup
	reloaded        chan struct{}
	purgeAt         atomic.Int64 // when the next purge is due; never, if purging is off

	transferring sync.Mutex // held while two collections change at once

	purgingAll     sync.Mutex
	purgedAtSecond int64     // when expired caches of everyone were last removed for a limit's sake
	purgedSome     bool      // and whether there were any
	purgedLast     time.Time // when that look ended
}

var (
	_ responder.Handler  = (*Server)(nil)
	_ responder.Volatile = (*Server)(nil)
	_ responder.Callee   = (*Server)(nil)
)

// Stores opens what the words of ccache_storage name, and what caches are
// imported from.
type Stores struct {
	// Open is called when records are first needed, and again with the next
	// request if it failed.
	Open func(storage string) (Store, error)
	// OpenExisting opens a storage that caches are taken from. The error wraps
	// fs.ErrNotExist if there is none.
	OpenExisting func(storage string) (Store, error)
	// SSSD reads the database of SSSD's own sssd_kcm. The error wraps
	// fs.ErrNotExist if there is none.
	SSSD func() ([]byte, error)
	// Group returns the group of a user whose caches are imported.
	Group func(uid uint32) (gid uint32)
}

// New returns the constructor of the responder. renew asks a KDC for tickets
// anew, tickets for those of services. sessions is called if caches are to end with login sessions; its error is for
// a machine that has none. random must yield unpredictable bytes and, like now,
// be usable by many goroutines at once.
func New(stores Stores, renew renewal.KDC, tickets Tickets, sessions func() (Sessions, error), now func() time.Time, random io.Reader) responder.Constructor {
	return func(service *responder.Service) (responder.Handler, error) {
		began := time.Now()
		s := newServer(service, stores, renew, tickets, sessions, now, func() time.Duration { return time.Since(began) }, random)
		s.showOnSystemBus(service)
		return s, nil
	}
}

func newServer(service *responder.Service, stores Stores, renew renewal.KDC, tickets Tickets, sessions func() (Sessions, error), now func() time.Time, monotonic func() time.Duration, random io.Reader) *Server {
	ctx, stop := context.WithCancel(context.Background())
	s := &Server{now: now, clock: newClock(now, monotonic), random: random, stores: stores, travelLimit: maxTravel, stopMaintenance: stop, reloaded: make(chan struct{}, 1)}
	s.memory, s.replies = responder.NewBudget(inFlight, ofOneUser), newReplies()
	s.spare = responder.NewSpare()
	s.settings.Store(settingsOf(service.Conf))
	storage := service.Conf.Section(section).String("ccache_storage")
	s.users = newUsers(storage, stores.Open, service.Log, service.Signal)
	if options, on := renewalOf(service.Conf); on {
		s.renewing = newRenewing(s, renew, options)
	}
	if getsTickets(service.Conf) {
		s.obtaining, s.guard = newObtaining(s, tickets), guardOf(service.Conf)
		s.forwards = len(s.guard) > 0 && service.Conf.Section(section).String(forwardKey) == wordYes
	}
	s.hooks = newHooking(s, service)
	s.bound = newBound(s, service.Conf, sessions)
	s.lookAfterTickets(ctx)
	interval := s.settings.Load().purgeInterval
	purge := s.schedule(interval) // before anybody asks whether the process may exit
	s.maintenance.Go(func() { s.maintain(ctx, interval, purge) })
	s.maintenance.Go(func() { s.keepSmall(ctx) })
	return s
}

// lookAfterTickets renews tickets, tells what becomes of them and ends them with
// login sessions until ctx ends, as far as that is asked for.
func (s *Server) lookAfterTickets(ctx context.Context) {
	if s.renewing == nil && s.hooks == nil && s.bound == nil {
		s.surveyed.Store(true)
		return
	}
	s.users.learn = func(uid uint32, state *state) {
		s.renewing.learn(uid, state)
		s.hooks.learn(uid, state)
		s.bound.learn(uid, state)
	}
	if s.renewing != nil {
		s.maintenance.Go(func() { s.renewing.Run(ctx) })
	}
	if s.hooks != nil {
		s.maintenance.Go(func() { s.hooks.Run(ctx) })
	}
	if s.bound != nil {
		s.maintenance.Go(func() { s.bound.run(ctx) })
	}
	s.maintenance.Go(func() { s.survey(ctx) })
}

// Serve answers one client until it is gone.
func (s *Server) Serve(ctx context.Context, conn *responder.Conn) {
	client := newSession(s, conn.Peer, conn.Log)
	client.process = func() (*linux.Process, error) { return linux.PeerProcess(conn.UnixConn) }
	client.serve(ctx, conn)
}

// Converse answers one client, as Serve does, over a connection that need not be
// a socket: of its peer nothing can be asked but what the caller says, and what
// process holds the client, if the connection has a method Process for that.
func (s *Server) Converse(ctx context.Context, conn stream, peer responder.Peer, logger *log.Logger) {
	client := newSession(s, peer, logger)
	client.process = func() (*linux.Process, error) { return nil, errors.ErrUnsupported }
	if held, ok := conn.(interface {
		Process() (*linux.Process, error)
	}); ok {
		client.process = held.Process
	}
	client.serve(ctx, conn)
}

// Reload takes over the live options of a new configuration.
func (s *Server) Reload(conf *confdb.Snapshot) {
	s.settings.Store(settingsOf(conf))
	select {
	case s.reloaded <- struct{}{}:
	default: // the newest settings will be read anyway
	}
}

// MayExit reports whether nothing is lost when the process ends: caches are
// kept elsewhere, nobody is told of changes on the system bus, no ticket is to be renewed or told of, no end of a session is
// waited for, and the next purge would find nothing to remove. Without the latter
// a responder that idles out before every purge would never do one.
func (s *Server) MayExit() bool {
	owed := s.users.desktop.Busy() || s.renewing.owed() || s.hooks.owed() || s.bound.owed()
	return !s.Volatile() && s.surveyed.Load() && !owed && !s.purgeIsDue()
}

// Volatile reports whether the caches are in this process's memory only.
func (s *Server) Volatile() bool { return s.users.volatile() }

// Close ends the maintenance goroutine and closes the store.
func (s *Server) Close() error {
	s.users.desktop.Close()
	s.stopMaintenance()
	s.maintenance.Wait()
	s.obtaining.close()
	return s.users.close()
}
