package responder

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gosssd/confdb"
	"gosssd/layout"
)

// checkedDescriptor is a responder whose socket can be moved, and which looks
// at one option itself.
func checkedDescriptor() Descriptor {
	return Descriptor{
		Name: "test", Socket: "/run/test.socket", SocketOption: "socket_path",
		Sections: []confdb.Section{{Name: "test", Options: []confdb.Option{
			{Key: "socket_path", Kind: confdb.Path},
			{Key: "colour", Kind: confdb.String},
		}}},
		Check: func(conf *confdb.Snapshot) []Remark {
			if conf.Section("test").String("colour") == "green" {
				return []Remark{{Section: "test", Key: "colour", Text: "green is sold out"}}
			}
			return nil
		},
	}
}

// TestTheConfigurationIsCheckedAgainstTheMachine loads one option each and
// compares what is said of it, and how grave it is.
func TestTheConfigurationIsCheckedAgainstTheMachine(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for option, want := range map[string]string{
		"command = /bin/sh -x":                                   "",
		"command = sh":                                           "",
		"command = " + dir + "/nothing":                          "2 command: " + dir + "/nothing cannot be started (no such file or directory); name a program that can, or leave the option out",
		"command = " + dir + "/file --opt":                       "2 command: " + dir + "/file cannot be started (permission denied); name a program that can, or leave the option out",
		"socket_path = /run/test.socket":                         "",
		"socket_path = /a/b/test.socket":                         "",
		"socket_path = /file/test.socket":                        "2 socket_path: the socket cannot be made: " + dir + "/file: not a directory; name a path in another directory",
		"socket_path = /file":                                    "2 socket_path: " + dir + "/file exists and is no socket; name another path",
		"socket_path = /" + strings.Repeat("x", 120):             "2 socket_path: the path of a socket has at most 102 bytes, this one has ",
		"colour = red":                                           "",
		"colour = green":                                         "2 colour: green is sold out",
		"[sssd]\nsocket_activation = systemd\n[test]\n":          "",
		"command = /bin/sh\n[sssd]\nsocket_activation = systemd": "2 command: has no effect while systemd holds the socket: edit the units sssd-test.socket and sssd-test.service",
	} {
		file := filepath.Join(dir, "sssd.conf")
		if err := os.WriteFile(file, []byte("[test]\n"+option+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		config, err := LoadConfig(confdb.Sources{File: file, SnippetDir: dir + "/none", OwnerUID: uint32(os.Getuid())}, Root(dir), []Descriptor{checkedDescriptor()})
		if err != nil || config.Err() != nil {
			t.Fatalf("%s: %v, %v", option, err, config.Err())
		}
		var said []string
		for _, finding := range config.Findings {
			said = append(said, strings.Replace(strings.TrimPrefix(finding.String(), file+":"), ": [test]", "", 1))
			if !finding.Kind.Loud() || finding.Kind.Counts() != !strings.Contains(finding.Text, "has no effect") {
				t.Errorf("%s: kind %d", option, finding.Kind)
			}
		}
		if got := strings.Join(said, "\n"); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%s:\n%s\nwant:\n%s", option, got, want)
		}
	}
}

func TestADirectoryThatCannotBeWrittenToIsAMistake(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/closed", 0o500); err != nil {
		t.Fatal(err)
	}
	problem := socketProblem(dir+"/closed/s", true)
	if os.Getuid() != 0 && !strings.Contains(problem, "permission denied") || os.Getuid() == 0 && problem != "" {
		t.Errorf("%q", problem)
	}
	if problem := socketProblem(dir+"/closed/s", false); problem != "" {
		t.Errorf("for another user: %q", problem)
	}
	if problem := socketProblem("/proc/self/s", true); problem == "" && os.Getuid() != 0 {
		t.Error("a socket in /proc")
	}
}

// TestWhyAResponderCannotStartIsInItsOwnLog guards that the reason is not in
// the journal alone, wherever the responder was started from.
func TestWhyAResponderCannotStartIsInItsOwnLog(t *testing.T) {
	root := Root(t.TempDir())
	if err := root.MakeDirs(); err != nil {
		t.Fatal(err)
	}
	args := os.Args
	defer func() { os.Args = args }()
	database := root.Path(layout.Current().Database)
	if err := os.WriteFile(database, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	os.Args = []string{"sssd_test", "--root", string(root)}
	if code := Main(checkedDescriptor(), nil); code != exitConfig {
		t.Errorf("exit code %d", code)
	}
	log, err := os.ReadFile(root.Path(LogDir + "/sssd_test.log"))
	if lines := strings.Split(strings.TrimSpace(string(log)), "\n"); err != nil ||
		!slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, "not a usable configuration database") }) {
		t.Errorf("the log: %q, %v", log, err)
	}
}
