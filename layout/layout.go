// Package layout is the table of names and paths in which the two forms of the
// product differ. There is no other difference between them in any program.
//
//   - whole: sssd, sssctl and the responders stand in the place of SSSD's own.
//   - beside: sssd_kcm stands in the place of SSSD's own, and everything else
//     has names of its own and runs beside an SSSD that goes on to serve the
//     rest of sssd.conf.
package layout

import "fmt"

// Layout is one column of the table. Paths are absolute and without a root.
type Layout struct {
	Form     string // the word that Form is set to
	Package  string // of the operating system
	Service  string // all of it together, in messages
	Monitor  string // the monitor's program, its log and its unit
	Programs string // the directory of that program
	Tool     string // the administrator's tool
	Database string // the configuration database
	Bus      string // the socket of the private D-Bus
	Logs     string // the files in the directory of logs that are ours, a regular expression of names
	PIDFile  string // of the monitor
	Storage  string // the default of [kcm] ccache_storage
	Beside   bool   // SSSD itself serves all sections of sssd.conf but ours
}

var layouts = []Layout{
	{
		Form:     "whole",
		Package:  "gosssd",
		Service:  "SSSD",
		Monitor:  "sssd",
		Programs: "/usr/sbin",
		Tool:     "sssctl",
		Database: "/var/lib/sss/db/config.db",
		Bus:      "/var/lib/sss/pipes/private/sbus-monitor",
		PIDFile:  "/run/sssd.pid",
		Logs:     `.*`,
		Storage:  "secrets",
	},
	{
		Form:     "beside",
		Package:  "gosssd-kcm",
		Service:  "gosssd",
		Monitor:  "gosssd",
		Programs: "/usr/libexec/gosssd",
		Tool:     "gosssctl",
		Database: "/var/lib/sss/db/gosssd.db",
		Bus:      "/var/lib/sss/pipes/private/gosssd-monitor",
		PIDFile:  "/run/gosssd.pid",
		Logs:     `(gosssd|sssd_kcm|sssd_secrets)\.log.*`,
		Storage:  "secdb",
		Beside:   true,
	},
}

// form is the Form of the programs. The linker sets it:
//
//	go build -ldflags '-X gosssd/layout.form=beside'
var form = "whole"

// Current returns the layout of this program.
func Current() Layout {
	for _, l := range layouts {
		if l.Form == form {
			return l
		}
	}
	panic(fmt.Sprintf("the program was linked with -X gosssd/layout.form=%s, which is no form", form))
}

// All returns the whole table.
func All() []Layout { return append([]Layout(nil), layouts...) }
