package deploy_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	namedTest = regexp.MustCompile("`([a-z-]+)\\.(Test[A-Za-z0-9_]+)`")
	testFunc  = regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9_]+)\(t \*testing\.T\)`)
	asvsItem  = regexp.MustCompile(`(?m)^\| (\d\.\d+\.\d+)[^|]*\|`)
)

// TestSecurityPage holds SECURITY.md against the code: each test that it names
// is there. Checked by renaming one.
func TestSecurityPage(t *testing.T) {
	there := testsByFolder(t)
	page := read(t, "SECURITY.md")
	named := namedTest.FindAllStringSubmatch(page, -1)
	if len(named) < 40 {
		t.Fatalf("only %d tests are named", len(named))
	}
	for _, name := range named {
		if !there[name[1]+"."+name[2]] {
			t.Errorf("%s.%s is not there", name[1], name[2])
		}
	}
	if rows := len(asvsItem.FindAllString(page, -1)); rows < 40 {
		t.Errorf("only %d rows of ASVS items", rows)
	}
	if !strings.Contains(read(t, "README.md"), "(SECURITY.md)") {
		t.Error("README.md does not lead to SECURITY.md")
	}
}

// testsByFolder returns every test as "folder.TestName".
func testsByFolder(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, f := range testFunc.FindAllStringSubmatch(string(text), -1) {
			found[filepath.Base(filepath.Dir(path))+"."+f[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
