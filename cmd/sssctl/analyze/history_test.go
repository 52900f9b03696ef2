package analyze

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// read makes a history of a text.
func read(filter Filter, text string) *History {
	h := New(filter)
	for line := range strings.Lines(text) {
		if l, ok := Parse(strings.TrimSuffix(line, "\n"), time.UTC); ok {
			h.Add(l)
		}
	}
	return h
}

// told is what a history tells of requests.
func told(h *History) string {
	var b strings.Builder
	for _, r := range h.Requests {
		fmt.Fprintf(&b, "%d/%d %s %s %s\n", r.Client.Process, r.Client.CID, r.Op, r.Event, r.Code)
	}
	return b.String()
}

const alice, bob = " uid=1000 pid=7 program=klist", " uid=1001 pid=8 program=kinit"

func ref[T any](v T) *T { return &v }

func TestNumbersOfConnectionsBeginAnewWithEachProcess(t *testing.T) {
	t.Parallel()
	h := read(Filter{CID: ref(uint64(1))}, `[kcm] [serve] (0x0100): ready: socket=/s generation=1
[kcm] [logServed] (0x0400): [CID#1] request served: op=NOOP`+alice+`
[kcm] [serve] (0x0100): ending: reason=terminated
[kcm] [serve] (0x0100): ready: socket=/s generation=1
[kcm] [logServed] (0x0400): [CID#1] request served: op=STORE`+alice+`
[kcm] [logUnserved] (0x0040): [CID#1] request refused: op=STORE`+bob+` code=EDQUOT
[kcm] [logUnserved] (0x0040): [CID#2] request refused: op=MOVE`+bob+` code=EDQUOT
`)
	if got, want := told(h), "1/1 NOOP served \n2/1 STORE served \n3/1 STORE refused EDQUOT\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if len(h.Clients) != 4 || len(h.Chosen()) != 3 || h.Clients[2].Unserved != 1 || h.Clients[2].UID != 1001 {
		t.Errorf("clients: %+v", h.Clients)
	}
}

func TestTheJournalNamesProcesses(t *testing.T) {
	t.Parallel()
	h := New(Filter{UID: ref(uint32(1000))})
	for _, pid := range []string{"10", "11", "10"} {
		l, err := ParseJournal([]byte(`{"__REALTIME_TIMESTAMP":"1700000000000001","_BOOT_ID":"b","_PID":"` + pid + `","SSSD_DEBUG_LEVEL":"400",
			"MESSAGE":"[CID#1] request served: op=NOOP` + alice + ` took=2ms"}`))
		if err != nil {
			t.Fatal(err)
		}
		h.Add(l)
	}
	if got, want := told(h), "1/1 NOOP served \n2/1 NOOP served \n1/1 NOOP served \n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if r := h.Requests[0]; r.Took == nil || *r.Took != 2*time.Millisecond || !r.Time.Equal(time.UnixMicro(1700000000000001)) {
		t.Errorf("%+v", r)
	}
	if l, err := ParseJournal([]byte(`{"__REALTIME_TIMESTAMP":"1","MESSAGE":[82,101,255]}`)); err != nil || l.Text != "Re\xff" {
		t.Errorf("bytes: %+v, %v", l, err)
	}
	for _, bad := range []string{`{`, `{}`, `{"__REALTIME_TIMESTAMP":"1","SSSD_DEBUG_LEVEL":"x"}`} {
		if _, err := ParseJournal([]byte(bad)); err == nil {
			t.Errorf("%s is read", bad)
		}
	}
}

func TestWhatIsLoggedBeforeIsJoinedToWhatBecameOfIt(t *testing.T) {
	t.Parallel()
	h := read(Filter{PID: ref(uint32(7))}, `[kcm] [logRequest] (0x4000): [CID#1] request: op=STORE`+alice+` cache=c ticket bytes=5
[kcm] [logRequest] (0x4000): [CID#2] request: op=NOOP`+bob+`
[kcm] [audit] (0x0100): [CID#1] access to another user's cache: op=STORE`+alice+` owner=5
[kcm] [logUnserved] (0x0020): [CID#1] request failed: op=STORE`+alice+` code=EIO reason="no disk" took=1s
[kcm] [logRequest] (0x4000): [CID#1] request: op=NOOP`+alice+`
[kcm] [logDropped] (0x0040): [CID#1] client dropped: op=NOOP`+alice+` code=closed reason=timeout
`)
	if got, want := told(h), "1/1 STORE failed EIO\n1/1 STORE access to another user's cache \n1/1 NOOP begun \n1/1 NOOP client dropped closed\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if r := h.Requests[0]; r.Cache != "c" || r.Reason != "no disk" || len(r.More) != 1 || r.More[0] != (Pair{"ticket bytes", "5"}) {
		t.Errorf("%+v", r)
	}
	if h.DurationsLogged() != true || h.OperationsLogged() {
		t.Errorf("durations %v, operations %v", h.DurationsLogged(), h.OperationsLogged())
	}
}

func TestCountedLinesAreTold(t *testing.T) {
	t.Parallel()
	text := "[kcm] [x] (0x0040): [CID#9] 12 lines like this one were left out in 10s: request refused: op=STORE" + alice + " code=EDQUOT reason=full\n"
	h := read(Filter{}, text)
	if len(h.LeftOut) != 1 || h.LeftOut[0].Lines != 12 || h.LeftOut[0].Code != "EDQUOT" || h.LeftOut[0].Op != "STORE" {
		t.Errorf("%+v", h.LeftOut)
	}
	if h = read(Filter{UID: ref(uint32(1001))}, text); len(h.LeftOut) != 0 {
		t.Errorf("of another user: %+v", h.LeftOut)
	}
}
