package responder

import (
	"slices"

	"gosssd/confdb"
	"gosssd/layout"
	"gosssd/responder/log"
)

// maxLevel is the mask of all bits of debug_level.
const maxLevel = 0x3f7f0

// logOptions are accepted in [sssd] and in every responder's section; only
// responders reload them.
func logOptions(live bool) []confdb.Option {
	return []confdb.Option{
		{Key: "debug_level", Kind: confdb.Int, Default: "2", Max: maxLevel, Clamp: true, Odd: log.Odd, Live: live, Text: "What is logged: a level from 0 to 10, or a mask of bits such as 0x0070"},
		{Key: "debug", Kind: confdb.Int, Max: maxLevel, Clamp: true, Odd: log.Odd, Live: live, Text: "Another name of debug_level, used where that is not set"},
		{Key: "debug_timestamps", Kind: confdb.Bool, Default: "true", Text: "Begin each line of a log with the time"},
		{Key: "debug_microseconds", Kind: confdb.Bool, Default: "false", Text: "Give that time in microseconds"},
		{Key: "debug_backtrace_enabled", Kind: confdb.Bool, Default: "true", Text: "Write recent quieter lines to a log file before a failure"},
	}
}

// ServiceOptions are accepted in every responder's section.
func ServiceOptions() []confdb.Option {
	return append(logOptions(true),
		confdb.Option{Key: "command", Kind: confdb.String, Text: "The program the monitor starts instead of the responder's own"},
		confdb.Option{Key: "description", Kind: confdb.String, Text: "A note for administrators"},
		confdb.Option{Key: "fd_limit", Kind: confdb.Int, Default: "2048", Min: 64, Clamp: true, Text: "How many file descriptors the responder may have open"},
		confdb.Option{Key: "client_idle_timeout", Kind: confdb.Int, Default: "300", Unit: "s", Min: 10, Clamp: true, Live: true, Text: "How long a client may be silent before it is disconnected"},
		confdb.Option{Key: "responder_idle_timeout", Kind: confdb.Int, Default: "300", Unit: "s", Min: 60, ZeroToo: true, Clamp: true, Live: true, Text: "How long the responder stays without clients; 0 is for ever"},
		confdb.Option{Key: "timeout", Kind: confdb.Int, Default: "10", Unit: "s", Min: 1, Clamp: true, Text: "How often the monitor asks the responder for a sign of life"},
		confdb.Option{Key: "force_timeout", Kind: confdb.Int, Default: "60", Unit: "s", Min: 1, Clamp: true, Text: "How long the responder may take to end before it is killed"},
	)
}

// MonitorSection is the section of sssd.conf whose options are the monitor's.
const MonitorSection = "sssd"

// monitorSection is what the monitor itself serves of its section. Beside an
// SSSD the section is SSSD's, and everything else in it is left to SSSD.
func monitorSection(form layout.Layout) confdb.Section {
	options := append(logOptions(false),
		confdb.Option{Key: "config_file_version", Kind: confdb.Int, Default: "2", Min: 2, Max: 2, Clamp: true, Text: "The version of the file's syntax"})
	if !form.Beside {
		options = append(options, missedOptions()...)
	}
	options = append(options,
		confdb.Option{Key: "socket_activation", Kind: confdb.Word, Default: "auto", Words: []string{"auto", "systemd", "monitor"}, Text: "Who holds the responders' sockets: systemd's units or the monitor; auto is systemd where it booted the machine and there is no --root"})
	return confdb.Section{Name: MonitorSection, Text: "The monitor", Options: options, Open: form.Beside}
}

// missedOptions say what SSSD is to serve. Where it is not there, whoever sets
// them must be told.
func missedOptions() []confdb.Option {
	return []confdb.Option{
		{Key: "domains", Kind: confdb.List, Missed: true,
			NotServed: "this build keeps tickets and secrets only; users and groups of a domain come from SSSD's own sssd",
			Text:      "Not served: the domains of SSSD's identity services"},
		{Key: "services", Kind: confdb.List, Text: "SSSD's services; kcm and secrets are activated by their sockets and do not belong here"},
	}
}

// domainSection is open: all of it belongs to services that this build does
// not have.
func domainSection() confdb.Section {
	return confdb.Section{Name: "domain/*", Text: "A domain of SSSD's identity services", Open: true}
}

// Schema is everything an sssd.conf may say to these responders and the
// monitor. What several of them declare of one section is one section.
func Schema(descriptors []Descriptor) confdb.Schema {
	schema := confdb.Schema{monitorSection(layout.Current()), domainSection()}
	for _, d := range descriptors {
		for _, more := range d.schema() {
			i := slices.IndexFunc(schema, func(s confdb.Section) bool { return s.Name == more.Name })
			if i < 0 {
				schema = append(schema, more)
				continue
			}
			schema[i].Options = slices.Concat(schema[i].Options, more.Options)
		}
	}
	return schema
}

// schema is what an sssd.conf may say to the responder alone. An option of its
// own takes the place of every service's with the same key.
func (d Descriptor) schema() confdb.Schema {
	schema := append(confdb.Schema(nil), d.Sections...)
	own := schema[0].Options
	general := slices.DeleteFunc(ServiceOptions(), func(o confdb.Option) bool {
		return slices.ContainsFunc(own, func(other confdb.Option) bool { return other.Key == o.Key })
	})
	schema[0].Options = slices.Concat(general, own)
	return schema
}
