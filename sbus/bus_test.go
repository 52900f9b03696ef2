package sbus

import (
	"os"
	"reflect"
	"testing"

	"github.com/godbus/dbus/v5"
)

func TestBusMethods(t *testing.T) {
	_, path := startMonitor(t)
	kcm := startResponder(t, path)
	uid, pid := uint32(os.Geteuid()), uint32(os.Getpid())
	credentials := map[string]dbus.Variant{"UnixUserID": dbus.MakeVariant(uid), "ProcessID": dbus.MakeVariant(pid)}
	tests := map[string]struct {
		method string
		args   []any
		want   any
		fails  string
	}{
		"a responder's user":                         {method: "GetConnectionUnixUser", args: []any{"sssd.kcm"}, want: uid},
		"a responder's process":                      {method: "GetConnectionUnixProcessID", args: []any{"sssd.kcm"}, want: pid},
		"credentials by unique name":                 {method: "GetConnectionCredentials", args: []any{kcm.Name()}, want: credentials},
		"the monitor's credentials":                  {method: "GetConnectionCredentials", args: []any{MonitorName}, want: credentials},
		"the bus' own credentials":                   {method: "GetConnectionCredentials", args: []any{BusName}, want: credentials},
		"nobody's credentials":                       {method: "GetConnectionCredentials", args: []any{"sssd.nss"}, fails: ErrorNameHasNoOwner},
		"nobody's user":                              {method: "GetConnectionUnixUser", args: []any{":1.99"}, fails: ErrorNameHasNoOwner},
		"the owner of a name":                        {method: "GetNameOwner", args: []any{"sssd.kcm"}, want: kcm.Name()},
		"the owner of the monitor's name":            {method: "GetNameOwner", args: []any{MonitorName}, want: selfName},
		"the bus owns itself":                        {method: "GetNameOwner", args: []any{BusName}, want: BusName},
		"a name without owner":                       {method: "GetNameOwner", args: []any{"sssd.nss"}, fails: ErrorNameHasNoOwner},
		"a unique name that is written otherwise":    {method: "GetNameOwner", args: []any{":1.00"}, fails: ErrorNameHasNoOwner},
		"whether a name has an owner":                {method: "NameHasOwner", args: []any{"sssd.kcm"}, want: true},
		"who waits for a name, its owner first":      {method: "ListQueuedOwners", args: []any{"sssd.kcm"}, want: []string{kcm.Name()}},
		"who waits for a name nobody owns":           {method: "ListQueuedOwners", args: []any{"sssd.nss"}, fails: ErrorNameHasNoOwner},
		"nothing is started on demand":               {method: "ListActivatableNames", want: []string{}},
		"a service that runs need not be started":    {method: "StartServiceByName", args: []any{"sssd.kcm", uint32(0)}, want: alreadyRunning},
		"a service that does not run is not started": {method: "StartServiceByName", args: []any{"sssd.nss", uint32(0)}, fails: ErrorServiceUnknown},
		"Hello is said once":                         {method: "Hello", fails: ErrorFailed},
		"a rule that was not added is not removed":   {method: "RemoveMatch", args: []any{"type='error'"}, fails: ErrorMatchRuleNotFound},
		"a rule that is none is not removed":         {method: "RemoveMatch", args: []any{"x"}, fails: ErrorMatchRuleInvalid},
		"a rule that is none is not added":           {method: "AddMatch", args: []any{"x"}, fails: ErrorMatchRuleInvalid},
		"nobody eavesdrops":                          {method: "AddMatch", args: []any{"eavesdrop='true'"}, fails: ErrorAccessDenied},
		"a name nobody has is not released":          {method: "ReleaseName", args: []any{"org.example.X"}, want: nameNonExistent},
		"another's name is not released":             {method: "ReleaseName", args: []any{"sssd.kcm"}, want: notOwner},
		"the bus' name is not released":              {method: "ReleaseName", args: []any{BusName}, fails: ErrorInvalidArgs},
	}
	tool := dial(t, path)
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			body, err := tool.Call(testContext(t), BusName, BusPath, BusInterface, tc.method, tc.args...)
			if errorName(err) != tc.fails {
				t.Fatalf("error is %v, want %q", err, tc.fails)
			}
			if tc.fails == "" && !reflect.DeepEqual(body, []any{tc.want}) {
				t.Errorf("result is %v, want %v", body, tc.want)
			}
		})
	}
}

func TestARuleThatWasRemovedMatchesNoMore(t *testing.T) {
	_, path := startMonitor(t)
	kcm := startResponder(t, path)
	conn, in := authenticatedConn(t, path)
	bus := func(method, rule string) {
		t.Helper()
		send(t, conn, BusName, BusPath, BusInterface, method, rule)
		if f := next(t, in); f.kind != dbus.TypeMethodReply {
			t.Fatalf("%s is answered by %v", method, f)
		}
	}
	emit := func() {
		t.Helper()
		if err := kcm.Emit(ResponderPath("kcm"), ResponderInterface("kcm"), "CacheChanged", uint32(1), "1:x", "u@R"); err != nil {
			t.Fatal(err)
		}
		// Answered after the signal has been dealt with.
		if _, err := kcm.Call(testContext(t), BusName, BusPath, BusInterface, "GetId"); err != nil {
			t.Fatal(err)
		}
	}
	bus("AddMatch", "type='signal',member='CacheChanged'")
	emit()
	if f := next(t, in); f.text(dbus.FieldMember) != "CacheChanged" {
		t.Fatalf("received %v", f)
	}
	bus("RemoveMatch", "member='CacheChanged',type='signal'")
	emit()
	bus("AddMatch", "type='error'") // its answer is the next that comes
}
