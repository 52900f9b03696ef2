// Package measure describes a vault by metrics: how large it is, what room there
// is for it, and how long its disk takes.
package measure

import (
	"gosssd/responder/metric"
	"gosssd/secrets/vault"
)

// Disk counts how long the disk of a vault takes. It is ready for use.
type Disk struct{ synced, stored metric.Durations }

// Watch has a vault that is opened with these options tell of its disk.
func (d *Disk) Watch(options *vault.Options) {
	options.Synced, options.Stored = d.synced.Add, d.stored.Add
}

// Sized is a vault, or a hive of one.
type Sized interface{ Sizes() (vault.Sizes, error) }

// Metrics describes the vault of a service; a nil one is not open.
func (d *Disk) Metrics(service string, v Sized) []metric.Family {
	synced := metric.Spread("gosssd_store_sync_seconds", "How long the disk took to make a change durable")
	synced.Samples = []metric.Sample{metric.Together(nil, &d.synced)}
	stored := metric.Spread("gosssd_store_transaction_seconds", "How long it took to bring changes from the journal into the database")
	stored.Samples = []metric.Sample{metric.Together(nil, &d.stored)}
	families := []metric.Family{synced, stored}
	if v != nil {
		families = append(families, sizes(v)...)
	}
	metric.Label(families, "service", service)
	return families
}

// sizes describes the files. What cannot be told is left out: a store that fails
// is seen by its requests.
func sizes(v Sized) []metric.Family {
	s, err := v.Sizes()
	if err != nil {
		return nil
	}
	full := 0.0
	if s.Tight {
		full = 1
	}
	return []metric.Family{
		metric.One(metric.Gauge, "gosssd_store_size_bytes", metric.Bytes, "", "The size of the database", float64(s.Database)),
		metric.One(metric.Gauge, "gosssd_store_free_bytes", metric.Bytes, "", "What the file system of the database has free", float64(s.Free)),
		metric.One(metric.Gauge, "gosssd_store_journal_bytes", metric.Bytes, "", "What the journal holds that the database lacks", float64(s.JournalUsed)),
		metric.One(metric.Gauge, "gosssd_store_journal_limit_bytes", metric.Bytes, "", "The size of the journal", float64(s.Journal)),
		metric.One(metric.Gauge, "gosssd_store_full", "", "", "1 while the disk refuses to give the database more", full),
	}
}
