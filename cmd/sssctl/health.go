package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"gosssd/cmd/responders"
	"gosssd/cmd/sssctl/output"
	"gosssd/confdb"
	"gosssd/layout"
	"gosssd/responder"
	"gosssd/responder/metric"
)

// nearFull is the part of a limit from which on status warns of a user.
const nearFull = 0.8

// health is what status tells of the services as a whole, from their metrics.
type health struct {
	Configuration string       `json:"configuration"` // whether sssd.conf is what is in force
	Sockets       []socketUse  `json:"identity_sockets"`
	Responders    []work       `json:"responders"`
	Operations    []duration   `json:"operations"`
	Fullest       []fullUser   `json:"fullest_users"`
	NextPurge     *time.Time   `json:"next_purge"`
	families      metricFamily // all of them
}

type socketUse struct {
	Name    string `json:"name"`
	Path    string `json:"path"`
	User    string `json:"user"`
	Clients uint64 `json:"clients"`
}

// work is what a responder that runs does.
type work struct {
	Name     string `json:"name"`
	Clients  uint64 `json:"clients"`
	Requests uint64 `json:"requests"`
	Unserved uint64 `json:"unserved"` // refused or failed

	// Both by second: since the responder started, and under --watch since the
	// look before.
	RequestRate  float64 `json:"request_rate"`
	UnservedRate float64 `json:"unserved_rate"`

	// Ends tells how often the responder's processes have ended, by why; of those
	// that were not in order.
	Ends map[string]uint64 `json:"ends"`

	Memory uint64 `json:"memory"` // bytes
	Store  uint64 `json:"store_size"`
	Free   uint64 `json:"store_free"` // 0 where the responder has no store of its own
}

// duration is how long an operation of sssd_kcm takes, in seconds.
type duration struct {
	Op    string  `json:"op"`
	Count uint64  `json:"count"`
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
}

type fullUser struct {
	UID   uint32  `json:"uid"`
	Part  float64 `json:"part"`
	Limit string  `json:"limit"`
}

// metricFamily finds samples.
type metricFamily []metric.Family

func (m metricFamily) named(name string) (f metric.Family) {
	for _, f := range m {
		if f.Name == name {
			return f
		}
	}
	return f
}

// sum is value as a whole number.
func (m metricFamily) sum(name string, labels ...string) uint64 {
	return uint64(m.value(name, labels...))
}

// value adds up the samples of a family that have these labels, names and values.
func (m metricFamily) value(name string, labels ...string) float64 {
	total := 0.0
	for _, s := range m.named(name).Samples {
		fits := true
		for i := 0; i+1 < len(labels); i += 2 {
			fits = fits && s.Labels[labels[i]] == labels[i+1]
		}
		if fits {
			total += s.Value
		}
	}
	return total
}

// health reads the metrics for people.
func (t *tool) health() (*health, error) {
	families, err := t.metrics()
	if err != nil {
		return nil, err
	}
	return t.healthOf(families), nil
}

// healthOf is what metrics tell people.
func (t *tool) healthOf(families []metric.Family) *health {
	m := metricFamily(families)
	h := &health{families: m, Configuration: t.inForce(), Sockets: []socketUse{}, Responders: []work{}, Operations: []duration{}, Fullest: []fullUser{}}
	h.NextPurge = output.UTC(int64(m.sum("gosssd_kcm_next_purge_timestamp_seconds")))
	for _, s := range m.named("gosssd_service_answering").Samples {
		name := s.Labels["service"]
		w := work{Name: name, Clients: m.sum("gosssd_clients", "service", name), Memory: m.sum("gosssd_resident_memory_bytes", "service", name),
			Requests: m.sum("gosssd_" + name + "_requests"), Store: m.sum("gosssd_store_size_bytes", "service", name), Free: m.sum("gosssd_store_free_bytes", "service", name)}
		w.Unserved = m.sum("gosssd_"+name+"_requests", "result", "refused") + m.sum("gosssd_"+name+"_requests", "result", "failed")
		if age := time.Since(time.UnixMilli(int64(1000 * m.value("gosssd_start_time_seconds", "service", name)))).Seconds(); age > 0 {
			w.RequestRate, w.UnservedRate = float64(w.Requests)/age, float64(w.Unserved)/age
		}
		w.Ends = m.ends(name)
		h.Responders = append(h.Responders, w)
	}
	latency := m.named("gosssd_kcm_request_seconds")
	for _, s := range latency.Samples {
		d := duration{Op: s.Labels["op"], P50: metric.Quantile(0.5, latency.Bounds, s.Buckets), P99: metric.Quantile(0.99, latency.Bounds, s.Buckets)}
		for _, n := range s.Buckets {
			d.Count += n
		}
		if d.Count > 0 {
			h.Operations = append(h.Operations, d)
		}
	}
	slices.SortFunc(h.Operations, func(a, b duration) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Op, b.Op)) })
	for _, s := range m.named("gosssd_kcm_user_fullness_ratio").Samples {
		if uid, err := strconv.ParseUint(s.Labels["uid"], 10, 32); err == nil {
			h.Fullest = append(h.Fullest, fullUser{uint32(uid), s.Value, s.Labels["limit"]})
		}
	}
	t.addSockets(h)
	return h
}

// addSockets tells of the identity sockets of the configuration in force.
func (t *tool) addSockets(h *health) {
	conf, err := confdb.Open(t.root.Path(layout.Current().Database), responder.Schema(responders.List()))
	if err != nil {
		return // which sssd says, and mends
	}
	for _, d := range responders.List() {
		for _, s := range d.IdentitySockets(t.root, conf) {
			h.Sockets = append(h.Sockets, socketUse{s.Name, s.Path, s.User, h.families.sum("gosssd_socket_clients", "service", d.Name, "socket", s.Name)})
		}
	}
}

// inForce says how sssd.conf relates to what is in force.
func (t *tool) inForce() string {
	schema := responder.Schema(responders.List())
	inForce, err := confdb.Open(t.root.Path(layout.Current().Database), schema)
	if err != nil {
		return "unknown"
	}
	files, err := confdb.Load(t.sources(), schema)
	if err != nil {
		return "files cannot be read"
	}
	switch next, err := files.Snapshot(), files.Err(); {
	case err != nil:
		return "files are wrong"
	case next.Hash != inForce.Hash:
		return "files are newer"
	}
	return "in force"
}

// mostShown is how many operations and users status shows.
const mostShown = 5

// parts are what status shows of it.
func (h *health) parts() []output.Part {
	work := output.Table{
		Heading:  []string{"SERVICE", "CLIENTS", "REQUESTS", "REQ/S", "UNSERVED", "UNSERVED/S", "MEMORY", "STORE", "FREE"},
		Optional: []string{"UNSERVED/S"},
	}
	for _, s := range h.Responders {
		work.Rows = append(work.Rows, texts(s.Name, fmt.Sprint(s.Clients), fmt.Sprint(s.Requests), rate(s.RequestRate), fmt.Sprint(s.Unserved),
			rate(s.UnservedRate), size(s.Memory), size(s.Store), size(s.Free)))
	}
	parts := []output.Part{{Text: "\nConfiguration: " + h.advice() + "\n\n", Table: work}}
	if len(h.Sockets) > 0 {
		sockets := output.Table{Heading: []string{"IDENTITY SOCKET", "USER", "CLIENTS", "PATH"}}
		for _, s := range h.Sockets {
			sockets.Rows = append(sockets.Rows, texts(s.Name, s.User, fmt.Sprint(s.Clients), s.Path))
		}
		parts = append(parts, output.Part{Text: "\n", Table: sockets})
	}
	if len(h.Operations) > 0 {
		operations := output.Table{Heading: []string{"OPERATION", "ANSWERED", "P50", "P99"}}
		for _, d := range h.Operations[:min(mostShown, len(h.Operations))] {
			operations.Rows = append(operations.Rows, texts(d.Op, fmt.Sprint(d.Count), seconds(d.P50), seconds(d.P99)))
		}
		parts = append(parts, output.Part{Text: "\n", Table: operations})
	}
	return append(parts, output.Part{Text: h.remarks()})
}

// remarks are what stands below the tables.
func (h *health) remarks() string {
	var out strings.Builder
	for _, s := range h.Responders {
		if len(s.Ends) > 0 {
			fmt.Fprintf(&out, "\nEnds of %s that were not in order: %s\n", s.Name, endsText(s.Ends))
		}
	}
	if h.NextPurge != nil {
		fmt.Fprintf(&out, "\nNext purge: %s\n", since(h.NextPurge.Unix()))
	}
	for _, u := range h.Fullest[:min(mostShown, len(h.Fullest))] {
		if u.Part >= nearFull {
			fmt.Fprintf(&out, "\nUser %d has used %.0f %% of %s\n", u.UID, 100*u.Part, u.Limit)
		}
	}
	return out.String()
}

func (h *health) advice() string {
	if h.Configuration == "files are newer" {
		return h.Configuration + "; '" + layout.Current().Tool + " restart' puts them into force"
	}
	return h.Configuration
}

// size is a number of bytes for people; none are shown as a dash.
func size(bytes uint64) string {
	if bytes == 0 {
		return "-"
	}
	return output.Bytes(bytes)
}

// seconds is a duration for people.
func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Microsecond).String()
}
