package responder

import (
	"context"
	"os"
	"slices"

	"gosssd/responder/log"
	"gosssd/responder/metric"
	"gosssd/sbus"
)

// objects is what a responder shows on the private bus.
func (p *process) objects() []sbus.Object {
	service := sbus.ServiceObject(sbus.Service{
		RotateLogs:    func(context.Context) error { return p.rotateLogs() },
		Reload:        func(context.Context) error { return p.reload() },
		Drain:         func(context.Context) error { p.requestDrain(); return nil },
		Counters:      func() map[string]uint64 { return metric.Words(p.metrics()) },
		Metrics:       p.metrics,
		Options:       p.options,
		DebugLevel:    func() uint32 { return uint32(p.log.Mask()) },
		SetDebugLevel: func(mask uint32) error { return SetDebugLevel(p.log, mask) },
		Generation:    func() uint64 { return p.conf.Load().Generation },
		Volatile:      p.volatile,
		Replaced:      ProgramReplaced,
		Pending:       p.pendingOptions,
		Version:       Version,
		Since:         p.since,
	})
	return []sbus.Object{service, sbus.ResponderObject(p.descriptor.Name, p.descriptor.Signals, p.methods())}
}

// methods are those that the descriptor declares, with the handler behind them.
func (p *process) methods() []sbus.Method {
	methods := slices.Clone(p.descriptor.Methods)
	callee, ok := p.handler.(Callee)
	for i := range methods {
		if name := methods[i].Name; ok {
			methods[i].Call = func(ctx context.Context, _ sbus.Caller, args []any) ([]any, error) {
				return callee.Call(ctx, name, args)
			}
		}
	}
	return methods
}

func (p *process) volatile() bool {
	v, ok := p.handler.(Volatile)
	return ok && v.Volatile()
}

// ProgramReplaced reports whether the program of this process was replaced or
// removed since it started, as an upgrade does.
func ProgramReplaced() bool {
	const self = "/proc/self/exe"
	path, err := os.Readlink(self)
	if err != nil {
		return false
	}
	runs, err := os.Stat(self)
	if err != nil {
		return false
	}
	installed, err := os.Stat(path) // has " (deleted)" appended if it was
	return err != nil || !os.SameFile(runs, installed)
}

// pendingOptions are those of the last Reload that need a restart.
func (p *process) pendingOptions() []string {
	if pending := p.pending.Load(); pending != nil {
		return *pending
	}
	return []string{}
}

// options are the options in force, by section and key, as they would be
// written in sssd.conf; secrets are masked.
func (p *process) options() map[string]map[string]string {
	schema, options := p.descriptor.schema(), map[string]map[string]string{}
	for _, row := range p.conf.Load().Show("") {
		if schema.Match(row.Section) == nil {
			continue
		}
		if options[row.Section] == nil {
			options[row.Section] = map[string]string{}
		}
		options[row.Section][row.Key] = row.Value
	}
	return options
}

// SetDebugLevel changes what a process logs. It takes a mask, as SSSD's D-Bus
// property does; sssctl converts levels.
func SetDebugLevel(logger *log.Logger, mask uint32) error {
	if err := CheckDebugLevel(mask); err != nil {
		return err
	}
	logger.SetMask(log.Level(mask))
	logger.Info("debug_level is changed", "mask", log.Level(mask))
	return nil
}

// CheckDebugLevel returns the error of a mask that SetDebugLevel does not take.
func CheckDebugLevel(mask uint32) error {
	if mask == 0 || mask&0xf != 0 {
		return sbus.Errorf(sbus.ErrorInvalidArgs, "%#x is not a mask of SSSD's level bits, such as 0x0070", mask)
	}
	return nil
}
