package deploy_test

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// require returns a program of this machine; without it the test skips, or fails
// where real servers are required.
func require(t *testing.T, name string) string {
	t.Helper()
	program, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("EARLYBIRD_REQUIRE_REAL") == "1" {
			t.Fatalf("%s is required (EARLYBIRD_REQUIRE_REAL=1): %v", name, err)
		}
		t.Skip(err)
	}
	return program
}

// TestDist makes a release's archives as the workflow does: every program for both
// platforms, static, which says its version. So CI compiles for arm64.
func TestDist(t *testing.T) {
	makeProgram := require(t, "make")
	require(t, "sha256sum")
	dist := filepath.Join(t.TempDir(), "dist")
	for _, wrong := range []string{"", "1.2.3", "v1.2", "v1.2.3'; false"} {
		if out, err := exec.Command(makeProgram, "-C", root, "dist", "DIST="+dist, "VERSION="+wrong).CombinedOutput(); err == nil {
			t.Errorf("VERSION=%s is taken:\n%s", wrong, out)
		}
	}
	if out, err := exec.Command(makeProgram, "-C", root, "dist", "DIST="+dist, "VERSION=v1.2.3").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	sums := ""
	for _, platform := range []struct {
		arch    string
		machine elf.Machine
	}{{"amd64", elf.EM_X86_64}, {"arm64", elf.EM_AARCH64}} {
		name := "earlybird_v1.2.3_linux_" + platform.arch
		archive, err := os.ReadFile(filepath.Join(dist, name+".tar.gz"))
		if err != nil {
			t.Fatal(err)
		}
		sums += fmt.Sprintf("%x  %s.tar.gz\n", sha256.Sum256(archive), name)
		files := unpack(t, filepath.Join(dist, name+".tar.gz"))
		for _, program := range []string{"earlybird", "earlybird-identity", "earlybird-auth", "earlybird-tag"} {
			file := files[name+"/"+program]
			binary, err := elf.Open(file)
			if err != nil {
				t.Fatalf("%s in %s: %v", program, name, err)
			}
			if libraries, err := binary.ImportedLibraries(); binary.Machine != platform.machine || err != nil || len(libraries) > 0 {
				t.Errorf("%s in %s: for %s, links %v, %v", program, name, binary.Machine, libraries, err)
			}
			_ = binary.Close()
			if platform.arch == runtime.GOARCH && runtime.GOOS == "linux" {
				if said, want := run(t, file, "--version"), program+" version v1.2.3\n"; said != want {
					t.Errorf("--version says %q, want %q", said, want)
				}
			}
		}
		for _, other := range []string{"LICENSE", "CHANGELOG.md", "kong.conf"} {
			if files[name+"/"+other] == "" {
				t.Errorf("%s is without %s", name, other)
			}
		}
	}
	if got, err := os.ReadFile(filepath.Join(dist, "checksums.txt")); err != nil || string(got) != sums {
		t.Errorf("checksums.txt %q, %v, want %q", got, err, sums)
	}
}

// unpack writes the files of an archive into a folder of the test's own, and returns
// each by its name in the archive.
func unpack(t *testing.T, archive string) map[string]string {
	t.Helper()
	file, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	zipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	files, folder := map[string]string{}, t.TempDir()
	for reader := tar.NewReader(zipped); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		to := filepath.Join(folder, filepath.Base(header.Name))
		data, err := io.ReadAll(reader)
		if err := errors.Join(err, os.WriteFile(to, data, header.FileInfo().Mode())); err != nil {
			t.Fatal(err)
		}
		files[header.Name] = to
	}
}

// TestVersionOfATag: what is built from a checkout of a tag says so, without being
// told.
func TestVersionOfATag(t *testing.T) {
	git, folder := require(t, "git"), t.TempDir()
	project, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"go.mod": "module example.test/program\n\ngo 1.26.0\n\nrequire github.com/earlybird/earlybird v0.0.0\n\nreplace github.com/earlybird/earlybird => " + project + "\n",
		"main.go": `package main

import "github.com/earlybird/earlybird/identity/program"

func main() { println(program.Version()) }
`,
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"init", "-q"},
		{"add", "."},
		{"-c", "user.name=t", "-c", "user.email=t@example.test", "-c", "commit.gpgsign=false", "commit", "-qm", "x"},
		{"tag", "v1.2.3"},
	} {
		if out, err := exec.Command(git, append([]string{"-C", folder}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
	}
	command := exec.Command("go", "build", "-buildvcs=true", "-o", "program", ".")
	command.Dir = folder
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	if said := run(t, filepath.Join(folder, "program")); said != "v1.2.3\n" {
		t.Errorf("the version is %q, want v1.2.3", said)
	}
}

// workflow is what the tests read of one.
type workflow struct {
	Permissions map[string]string
	Jobs        map[string]struct {
		Uses     string
		Timeout  int `yaml:"timeout-minutes"`
		Strategy struct {
			Matrix struct{ Include []map[string]string }
		}
		Steps []struct {
			Uses string
			Run  string
			With map[string]any
		}
	}
}

var pinned = regexp.MustCompile(`^[a-z-]+/[a-z-]+@[0-9a-f]{40}$`)

// TestWorkflows: what they run is pinned to a commit, may do nothing that it does not
// need, and builds what is here. make check has their syntax looked at.
func TestWorkflows(t *testing.T) {
	goLine := regexp.MustCompile(`(?m)^go (1\.\d+)`).FindStringSubmatch(read(t, "go.mod"))[1]
	for _, name := range []string{"ci.yml", "release.yml"} {
		var w workflow
		if err := yaml.Unmarshal([]byte(read(t, ".github/workflows/"+name)), &w); err != nil {
			t.Fatal(err)
		}
		if len(w.Permissions) != 1 || w.Permissions["contents"] != "read" {
			t.Errorf("%s: every job may %v", name, w.Permissions)
		}
		for job, j := range w.Jobs {
			if j.Uses == "" && j.Timeout == 0 {
				t.Errorf("%s: %s may run for ever", name, job)
			}
			for _, step := range j.Steps {
				if step.Uses != "" && !pinned.MatchString(step.Uses) {
					t.Errorf("%s: %s is not pinned to a commit", name, step.Uses)
				}
				if version := step.With["go-version"]; version != nil && version != goLine {
					t.Errorf("%s: builds with Go %v, go.mod says %s", name, version, goLine)
				}
			}
			for _, image := range j.Strategy.Matrix.Include {
				if text := read(t, image["file"]); !strings.HasPrefix(text[strings.Index(text, "FROM"):], "FROM --platform=$BUILDPLATFORM ") || !strings.Contains(text, "\nENV GOARCH=$TARGETARCH\n") {
					t.Errorf("%s does not compile for the image's platform", image["file"])
				}
			}
		}
	}
}

// TestIssueTemplates: GitHub shows none that has no name, description or body.
func TestIssueTemplates(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, ".github", "ISSUE_TEMPLATE", "*.yml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var form struct {
			Name, Description string
			Body              []struct{ Type string }
		}
		if err := yaml.Unmarshal(data, &form); err != nil || form.Name == "" || form.Description == "" || len(form.Body) == 0 {
			t.Errorf("%s: %+v, %v", file, form, err)
		}
		for _, part := range form.Body {
			if !slices.Contains([]string{"markdown", "textarea", "input", "dropdown", "checkboxes"}, part.Type) {
				t.Errorf("%s: a part of type %q", file, part.Type)
			}
		}
	}
}
