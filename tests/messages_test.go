package tests

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestTheMessagesOfTheManualAreWhatMITSays makes each failure of the table in
// sssd-kcm(8) and reads what the client prints.
func TestTheMessagesOfTheManualAreWhatMITSays(t *testing.T) {
	t.Parallel()
	needRealm(t)
	me := user(os.Getuid())
	running := func(conf string) *system { return newSystem(t, conf).start() }
	failures := map[string]func() string{
		"Credentials cache 'KCM:1000' not found": func() string {
			out := running(defaults).shFails(me, `klist`)
			return strings.ReplaceAll(out, fmt.Sprintf("'KCM:%d'", me), "'KCM:1000'")
		},
		"No KCM server found": func() string { return newSystem(t, defaults).shFails(me, `klist`) },
		"Connection refused":  func() string { return running("[kcm]\ncommand = /bin/false\n").shFails(me, `klist`) },
		"Disk quota exceeded": func() string {
			return running("[kcm]\nmax_uid_ccaches = 1\n").shFails(me, fmt.Sprintf(`echo secret | kinit alice; echo secret | kinit -c KCM:%d:second bob`, me))
		},
		"Credential cache name malformed": func() string {
			u := everybody()[len(everybody())-1]
			return running(defaults).shFails(u, fmt.Sprintf(`echo secret | kinit -c KCM:%d alice`, u+1))
		},
	}
	// A full disk is in the tests of the vault and of kcm; that tickets expire
	// is no message.
	elsewhere := []string{"No space left on device", "tickets expire in the middle of work"}
	_, table, _ := strings.Cut(page(t, "sssd-kcm.8"), "library of MIT Kerberos say:\n")
	table, _, _ = strings.Cut(table, ".TE\n")
	rows := regexp.MustCompile(`(?m)^T\{\n((?:.*\n)*?)T\}\tT\{\n(?:.*\n)*?T\}\tT\{\n(?:.*\n)*?T\}$`).FindAllStringSubmatch(table, -1)
	for _, row := range rows {
		message := strings.Join(strings.Fields(row[1]), " ")
		fail, found := failures[message]
		if !found {
			if !strings.Contains(strings.Join(elsewhere, "\n"), message) {
				t.Errorf("no test makes a client say %q", message)
			}
			continue
		}
		delete(failures, message)
		t.Run(message, func(t *testing.T) { expect(t, fail(), message) })
	}
	if len(failures) > 0 {
		t.Errorf("the manual does not have %d of the messages", len(failures))
	}
}
