package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// interfaceXML finds the interfaces of an introspection.
var interfaceXML = regexp.MustCompile(`(?s) *<interface name="(org\.freedesktop\.sssd\.[^"]*|sssd\.[^"]*)">.*?</interface>\n`)

// TestTheInstalledInterfacesAreThoseOfTheBus compares packaging/dbus with what
// the running programs show. UPDATE=dbus writes it.
func TestTheInstalledInterfacesAreThoseOfTheBus(t *testing.T) {
	t.Parallel()
	needProgram(t, "gdbus")
	s := newSystem(t, defaults).start()
	s.wake("")
	shown := map[string]string{}
	for _, object := range []string{
		"sssd.monitor /org/freedesktop/sssd/monitor", "sssd.kcm /org/freedesktop/sssd/service",
		"sssd.kcm /org/freedesktop/sssd/kcm", "sssd.secrets /org/freedesktop/sssd/secrets",
	} {
		name, path, _ := strings.Cut(object, " ")
		out := s.sh(user(os.Getuid()), fmt.Sprintf(`gdbus introspect --xml --address "$BUS" --dest %s --object-path %s`, name, path))
		for _, found := range interfaceXML.FindAllStringSubmatch(out, -1) {
			shown[found[1]+".xml"] = "<node>\n" + found[0] + "</node>\n"
		}
	}
	const dir = "../packaging/dbus/"
	if os.Getenv("UPDATE") == "dbus" {
		for name, text := range shown {
			if err := os.WriteFile(dir+name, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	files, err := filepath.Glob(dir + "*.xml")
	if err != nil {
		t.Fatal(err)
	}
	for i := range files {
		files[i] = filepath.Base(files[i])
	}
	for name, text := range shown {
		have, err := os.ReadFile(dir + name)
		if err != nil || string(have) != text {
			t.Errorf("%s is not what the bus shows (%v); UPDATE=dbus go test ./tests -run %s writes it:\n%s", name, err, t.Name(), text)
		}
	}
	if len(shown) < 3 || len(files) != len(shown) {
		t.Errorf("the files are %v; the bus has %d interfaces", slices.Sorted(slices.Values(files)), len(shown))
	}
}
