package responder

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"gosssd/responder/metric"
)

// metrics are those of the handler and of the frame.
func (p *process) metrics() []metric.Family {
	frame := p.server.metrics()
	metric.Label(frame, "service", p.descriptor.Name)
	return append(append(p.handler.Metrics(), frame...), ProcessMetrics(p.descriptor.Name, p.since, p.conf.Load().Generation)...)
}

// ProcessMetrics are those that every process of the product has: since when it
// runs, and with which generation of the configuration, are its own to say.
func ProcessMetrics(service string, since time.Time, generation uint64) []metric.Family {
	families := []metric.Family{
		metric.One(metric.Gauge, "gosssd_start_time_seconds", metric.Seconds, "", "When the process started, in seconds since 1970", metric.Instant(since)),
		{Name: "gosssd_build", Kind: metric.Info, Help: "The version of the program", Samples: []metric.Sample{metric.Of(1, "version", Version)}},
	}
	if bytes, err := residentMemory(); err == nil {
		families = append(families, metric.One(metric.Gauge, "gosssd_resident_memory_bytes", metric.Bytes, "", "The memory that the process has", bytes))
	}
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err == nil {
		used := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
		families = append(families, metric.One(metric.Counter, "gosssd_cpu_seconds", metric.Seconds, "", "The time of processors that the process has used", used.Seconds()))
	}
	families = append(families, metric.One(metric.Gauge, "gosssd_generation", "", "", "The generation of the configuration that the process has", float64(generation)))
	metric.Label(families, "service", service)
	return families
}

// residentMemory is how many bytes of memory this process has.
func residentMemory() (float64, error) {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	var size, resident uint64 // pages
	if _, err := fmt.Sscan(string(b), &size, &resident); err != nil {
		return 0, fmt.Errorf("/proc/self/statm: %w", err)
	}
	return float64(resident * uint64(os.Getpagesize())), nil
}

// metrics tells of the connections.
func (s *server) metrics() []metric.Family {
	s.mu.Lock()
	defer s.mu.Unlock()
	bySocket := map[string]int{}
	for conn := range s.conns {
		bySocket[conn.Socket]++
	}
	sockets := metric.Family{Name: "gosssd_socket_clients", Kind: metric.Gauge, Help: "Clients that are connected through an identity socket"}
	for _, e := range s.endpoints {
		if e.identity == nil {
			continue
		}
		name := e.identity.socket
		sample := metric.Of(float64(bySocket[name]), "socket", name)
		sample.Word = "clients of socket " + name
		sockets.Samples = append(sockets.Samples, sample)
	}
	return []metric.Family{
		metric.One(metric.Gauge, "gosssd_clients", "", "clients", "Clients that are connected", float64(len(s.conns))),
		sockets,
		metric.One(metric.Counter, "gosssd_accepted_clients", "", "", "Clients that have connected", float64(s.lastID.Load())),
		metric.One(metric.Counter, "gosssd_evicted_clients", "", "evicted", "Clients that were disconnected to make room for others", float64(s.evicted)),
		metric.One(metric.Counter, "gosssd_refused_clients", "", "", "Clients that were not taken on, for want of descriptors or of a uid", float64(s.refused)),
		metric.One(metric.Gauge, "gosssd_client_limit", "", "", "How many clients there is room for", float64(s.room)),
	}
}

func (s *server) countRefused() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused++
}
