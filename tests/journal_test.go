package tests

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestTheJournalExplainsARefusal has the real journald keep a refusal, and finds
// it by its fields, with cause and cure.
func TestTheJournalExplainsARefusal(t *testing.T) {
	t.Parallel()
	needDefaultLevel(t)
	m := bootMachine(t, "[kcm]\nmax_uid_ccaches = 1\n")
	m.write("/etc/default/sssd", "DEBUG_LOGGER=--logger=journald\n")
	m.sh(0, `journalctl --update-catalog; systemctl start sssd`)
	m.sh(someone, "echo secret | kinit u1; echo secret | kinit -c KCM:$(id -u):b u2 && exit 1 || klist -c KCM:0 && exit 1 || :")
	quota := m.eventually(`journalctl --no-pager -x GOSSSD_CODE=EDQUOT GOSSSD_OP=REPLACE + GOSSSD_CODE=EDQUOT GOSSSD_OP=INITIALIZE`, "Cure: the user removes")
	expect(t, quota, "A limit of credential caches or secrets is reached", "program kinit, was refused:", "max_uid_ccaches is reached", "kdestroy -c CACHE", "sssctl restart")
	expect(t, m.eventually(`journalctl --no-pager -x GOSSSD_CACHE=0`, "unset KRB5CCNAME"), "A user asked for what is another's", "program klist (process ")
	expect(t, m.sh(0, `journalctl --no-pager -o verbose GOSSSD_CODE=EDQUOT`), "MESSAGE_ID=3ea6032d4123467393b3b2b1cc29bc98", "GOSSSD_PRINCIPAL=u2@", "GOSSSD_PROGRAM=kinit", "GOSSSD_PID=", "GOSSSD_CID=")
	expect(t, m.sh(0, fmt.Sprintf(`sssctl analyze --journal --user %d --since 1h`, someone)), "refused EDQUOT", "kinit", "debug_level 6")
	if out := m.sh(0, `journalctl --no-pager GOSSSD_UID=4711`); !strings.Contains(out, "No entries") {
		t.Errorf("a user who asked for nothing has %s", out)
	}

	// Each cure names what is there.
	catalog, err := os.ReadFile("../packaging/gosssd.catalog")
	if err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile(`(?m)^  (\S.*)$`).FindAllStringSubmatch(string(catalog), -1)
	if len(commands) < 15 {
		t.Fatalf("the catalog has %d commands", len(commands))
	}
	var check strings.Builder
	for _, command := range commands {
		words := strings.Fields(command[1])
		name := words[0]
		if name != "sssctl" {
			check.WriteString("command -v " + name + " >/dev/null || echo no " + name + "\n")
			continue
		}
		n := 2
		if words[1] == "ccache" || words[1] == "secrets" {
			n = 3
		}
		check.WriteString(strings.Join(words[:n], " ") + " --help >/dev/null || echo no " + strings.Join(words[:n], " ") + "\n")
	}
	check.WriteString("sssctl debug-level 9; sssctl debug-level 2; sssctl secrets repair 4711 >/dev/null || :; sssctl secrets check\n")
	if out := m.sh(0, check.String()); strings.Contains(out, "no ") && strings.Contains("\n"+out, "\nno ") {
		t.Error(out)
	}
}

// TestTheSystemBusStartsKCM has systemd start sssd_kcm for the name on its bus.
func TestTheSystemBusStartsKCM(t *testing.T) {
	t.Parallel()
	const someone user = 1 // the daemon lets in whom /etc/passwd has
	m := bootMachine(t, "[kcm]\ndebug_level = 4\n")
	m.sh(0, `systemctl start sssd dbus`)
	const list = `busctl --no-pager call org.gosssd.Kcm1 /org/gosssd/Kcm1 org.gosssd.Kcm1 ListCaches`
	if out := m.sh(someone, list); out != "aa{sv} 0\n" {
		t.Errorf("a user without caches is shown %s", out)
	}
	m.sh(someone, kinit)
	expect(t, m.sh(someone, list), `"principal" s "`, `"default" b true`)
	if out := m.sh(0, list); out != "aa{sv} 0\n" {
		t.Errorf("root is shown %s", out)
	}
}
