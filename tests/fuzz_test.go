package tests

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMakeFuzzForgetsNoTarget compares what fuzz.sh finds with what a parser of
// Go finds, and sees to it that every target begins with something: a corpus in
// the tree, or seeds in its source.
func TestMakeFuzzForgetsNoTarget(t *testing.T) {
	t.Parallel()
	var want []string
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "build" || entry.Name() == "testdata" || entry.Name() == ".git"):
			return fs.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir := "./" + strings.TrimPrefix(filepath.Dir(path), "../")
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Fuzz") {
				continue
			}
			want = append(want, dir+" "+f.Name.Name)
			corpus, _ := os.ReadDir(filepath.Join(filepath.Dir(path), "testdata", "fuzz", f.Name.Name))
			if len(corpus) == 0 && !adds(f) {
				t.Errorf("%s of %s begins with nothing", f.Name.Name, dir)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("./fuzz.sh", "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	found := strings.Split(strings.TrimSpace(string(out)), "\n")
	slices.Sort(want)
	slices.Sort(found)
	if len(want) < 30 || !slices.Equal(found, want) {
		t.Errorf("fuzz.sh finds %q, want %q", found, want)
	}
}

// adds says whether a fuzz target has seeds of its own.
func adds(target *ast.FuncDecl) (found bool) {
	ast.Inspect(target, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Add" {
			found = true
		}
		return true
	})
	return found
}
