package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheLinterFindsMistakes gives the linter of make lint a package with a
// mistake in each file but one, which has what .golangci.yml lets pass.
func TestTheLinterFindsMistakes(t *testing.T) {
	t.Parallel()
	const linter = "../build/golangci-lint"
	if _, err := os.Stat(linter); err != nil {
		skip(t, "needs golangci-lint; make lint builds it")
	}
	rules, err := os.ReadFile("../.golangci.yml")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"go.mod": "module wrong\n\ngo 1.26\n", ".golangci.yml": string(rules)}
	const head = "// Package wrong has mistakes.\npackage wrong\n\nimport \"os\"\n\n"
	mistakes := map[string]struct{ code, linter string }{
		"ignored.go":  {"// F closes.\nfunc F(f *os.File) {\n\tf.Close()\n}\n", "errcheck"},
		"deferred.go": {"// G removes.\nfunc G() {\n\tdefer os.Remove(\"x\")\n}\n", "errcheck"},
		"exit.go":     {"// H ends.\nfunc H() {\n\tos.Exit(1)\n}\n", "forbidigo"},
		"vetted.go":   {"// K closes for ever.\nfunc K() int {\n\treturn 1\n\tos.Clearenv()\n\treturn 2\n}\n", "govet"},
		"compared.go": {"// I asks.\nfunc I(err error) bool {\n\treturn err == os.ErrExist\n}\n", "errorlint"},
	}
	for name, mistake := range mistakes {
		files[name] = head + mistake.code
	}
	mistakes["tests/alone_test.go"] = struct{ code, linter string }{"", "paralleltest"}
	files["tests/alone_test.go"] = "package tests\n\nimport \"testing\"\n\nfunc TestAlone(t *testing.T) {\n\tt.Log(t.Name())\n}\n"
	files["alone_test.go"] = strings.Replace(files["tests/alone_test.go"], "tests", "wrong", 1)
	files["right.go"] = head + "// J closes.\nfunc J(f *os.File) {\n\tdefer f.Close()\n}\n"
	dir := lay(t, files)
	path, err := filepath.Abs(linter)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "run", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOLANGCI_LINT_CACHE="+filepath.Join(dir, "cache"))
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Error("nothing is found")
	}
	for name, mistake := range mistakes {
		found := false
		for line := range strings.Lines(string(out)) {
			found = found || strings.HasPrefix(line, name+":") && strings.HasSuffix(line, "("+mistake.linter+")\n")
		}
		if !found {
			t.Errorf("%s does not find %s:\n%s", mistake.linter, name, out)
		}
	}
	refuse(t, string(out), "right.go", "\nalone_test.go")
}
