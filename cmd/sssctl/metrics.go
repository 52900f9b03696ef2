package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/godbus/dbus/v5"
	"github.com/spf13/cobra"

	"gosssd/layout"
	"gosssd/linux"
	"gosssd/responder/metric"
	"gosssd/sbus"
)

// The words of --format, and what they mean.
var metricFormats = map[string]metric.Format{"openmetrics": metric.OpenMetrics, "text": metric.Plain}

func (t *tool) metricsCommand() *cobra.Command {
	var format, file string
	c := &cobra.Command{
		Use:   "metrics",
		Short: "Print what is counted, for Prometheus",
		Long: "Print what " + layout.Current().Monitor + " and its responders count, as OpenMetrics, or in the older text format of Prometheus.\n" +
			"With --textfile it is written for the textfile collector of node_exporter, always in the older format.\n" +
			"Where " + layout.Current().Monitor + " does not run, gosssd_up is 0, and nothing else is known.",
		Args: arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			chosen, known := metricFormats[format]
			switch {
			case !known:
				return &usageError{c, fmt.Sprintf("--format: %q is none of openmetrics and text", format)}
			case file != "" && c.Flags().Changed("format"):
				return &usageError{c, "choose one of --format and --textfile, which has a format of its own"}
			case file != "" && !strings.HasSuffix(file, ".prom"):
				return &usageError{c, fmt.Sprintf("--textfile: %q does not end in .prom, and node_exporter would not read it", file)}
			}
			families, err := t.metrics()
			if err != nil {
				return err
			}
			if file == "" {
				return metric.Write(c.OutOrStdout(), families, chosen)
			}
			return writeTextfile(file, families)
		},
	}
	c.Flags().StringVar(&format, "format", "openmetrics", "print in this `FORMAT`: openmetrics, or text, the format 0.0.4 of Prometheus")
	c.Flags().StringVar(&file, "textfile", "", "write to `FILE`, whose name ends in .prom, in place of printing")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"openmetrics", "text"}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.MarkFlagFilename("textfile", "prom")
	return c
}

// textfileMode lets node_exporter read the file, which has a user of its own.
const textfileMode = 0o644

// writeTextfile puts the file in its place whole: the collector may read at any
// moment.
func writeTextfile(path string, families []metric.Family) error {
	var text bytes.Buffer
	if err := metric.Write(&text, families, metric.Plain); err != nil {
		return err
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return fmt.Errorf("--textfile: there is no directory %s; name that of node_exporter's --collector.textfile.directory", filepath.Dir(path))
	}
	err := linux.Replace(path, textfileMode, func(f *os.File) error {
		_, err := f.Write(text.Bytes())
		return err
	})
	if err != nil {
		return fmt.Errorf("--textfile: write %s: %w", path, err)
	}
	return nil
}

// metrics returns what the monitor and the responders that run count.
func (t *tool) metrics() ([]metric.Family, error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	conn, err := t.dial(ctx)
	if errors.Is(err, errNotRunning) {
		return []metric.Family{up(0)}, nil
	} else if err != nil {
		return nil, err
	}
	defer conn.Close()
	return metricsOver(ctx, conn)
}

// up tells whether the monitor runs, 1 or 0.
func up(runs float64) metric.Family {
	return metric.One(metric.Gauge, "gosssd_up", "", "", "1 if "+layout.Current().Monitor+" runs", runs)
}

// metricsOver is metrics over a connection.
func metricsOver(ctx context.Context, conn *sbus.Conn) ([]metric.Family, error) {
	all := []metric.Family{up(1)}
	own, err := askMetrics(ctx, conn, sbus.MonitorName, sbus.MonitorPath, sbus.MonitorInterface)
	if err != nil {
		return nil, err
	}
	services, err := listServices(ctx, conn)
	if err != nil {
		return nil, err
	}
	answering := metric.Family{Name: "gosssd_service_answering", Kind: metric.Gauge, Help: "1 if a service that runs has told its metrics"}
	all = append(all, own...)
	for _, s := range services[min(1, len(services)):] {
		if s.State != sbus.StateRunning {
			continue
		}
		families, err := metricsOf(ctx, conn, s)
		answers := 1.0
		if err != nil {
			answers = 0
			fmt.Fprintf(os.Stderr, "%s does not tell its metrics: %v\n", s.Name, err)
		}
		answering.Samples = append(answering.Samples, metric.Of(answers, "service", s.Name))
		all = append(all, families...)
	}
	return metric.Merge(append(all, answering)), nil
}

// metricsOf asks one responder. One that hangs keeps nobody from the metrics of
// the others.
func metricsOf(ctx context.Context, conn *sbus.Conn, s status) ([]metric.Family, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	return askMetrics(ctx, conn, sbus.ServiceName(s.Name), sbus.ServicePath, sbus.ServiceInterface)
}

func askMetrics(ctx context.Context, conn *sbus.Conn, name string, path dbus.ObjectPath, iface string) ([]metric.Family, error) {
	reply, err := conn.Call(ctx, name, path, iface, "Metrics")
	if err != nil {
		return nil, inWords(err)
	}
	var families []metric.Family
	if err := dbus.Store(reply, &families); err != nil {
		return nil, fmt.Errorf("the metrics cannot be read: %w", err)
	}
	return families, nil
}
