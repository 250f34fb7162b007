package deploy_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
)

// image is what a Dockerfile says, as far as the tests need it.
type image struct {
	from   []string            // base images, in order
	copied []string            // from the project, relative to its root
	builds map[string]string   // package of this module, by the program's path in the build stage
	files  map[string]string   // in the last stage: where each file of the project or the build stage goes
	last   map[string][]string // the last stage's other instructions: USER, ENTRYPOINT, CMD, ENV, ...
	noCGO  bool
}

var (
	goBuild  = regexp.MustCompile(`go build -trimpath -o (\S+) (\./\S+)`)
	execForm = regexp.MustCompile(`"([^"]*)"`)
)

// dockerfile reads a Dockerfile: one instruction on a line, continued by a
// backslash.
func dockerfile(t *testing.T, name string) image {
	t.Helper()
	img := image{builds: map[string]string{}}
	text := regexp.MustCompile(`(?m)^\s*#.*\n`).ReplaceAllString(read(t, name), "")
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		rest := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), words[0]))
		switch words[0] {
		case "FROM":
			img.from = append(img.from, words[slices.IndexFunc(words[1:], func(w string) bool { return !strings.HasPrefix(w, "--") })+1])
			img.files, img.last = map[string]string{}, map[string][]string{}
		case "COPY":
			img.copy(words[1:])
		case "RUN":
			for _, build := range goBuild.FindAllStringSubmatch(rest, -1) {
				img.builds[build[1]] = build[2]
			}
		case "ENTRYPOINT", "CMD":
			img.last[words[0]] = nil
			for _, word := range execForm.FindAllStringSubmatch(rest, -1) {
				img.last[words[0]] = append(img.last[words[0]], word[1])
			}
		default:
			img.noCGO = img.noCGO || rest == "CGO_ENABLED=0"
			img.last[words[0]] = append(img.last[words[0]], rest)
		}
	}
	return img
}

func (img *image) copy(words []string) {
	staged := false
	for len(words) > 0 && strings.HasPrefix(words[0], "--") {
		staged = staged || strings.HasPrefix(words[0], "--from=")
		words = words[1:]
	}
	sources, target := words[:len(words)-1], words[len(words)-1]
	for _, source := range sources {
		if !staged {
			img.copied = append(img.copied, source)
		}
		to := target
		if strings.HasSuffix(target, "/") {
			to = path.Join(target, path.Base(source))
		}
		img.files[to] = source
	}
}

// TestImages holds the Dockerfiles against the module and against what
// Kong's settings and docker-compose.yml say of them.
func TestImages(t *testing.T) {
	tests := []struct {
		file, service string
		base          string
		programs      map[string]string // file in the image, package
	}{
		{"kong/Dockerfile", "kong", "kong:3.9", map[string]string{
			"/usr/local/bin/earlybird-auth": "./plugin/earlybird-auth", "/usr/local/bin/earlybird-tag": "./plugin/earlybird-tag",
		}},
		{"deploy/images/identity.Dockerfile", "identity", "gcr.io/distroless/static-debian12:nonroot", map[string]string{
			"/usr/local/bin/earlybird-identity": "./identity", "/usr/local/bin/earlybird": "./admin",
		}},
		{"deploy/examples/shop/Dockerfile", "shop", "gcr.io/distroless/static-debian12:nonroot", map[string]string{
			"/usr/local/bin/shop": "./deploy/examples/shop/server",
		}},
	}
	goLine := regexp.MustCompile(`(?m)^go (1\.\d+)`).FindStringSubmatch(read(t, "go.mod"))[1]
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			img := dockerfile(t, tt.file)
			if len(img.from) != 2 || !strings.HasPrefix(img.from[0], "golang:"+goLine+"-") || img.from[1] != tt.base {
				t.Errorf("built from %v; go.mod says go %s, the base is to be %s", img.from, goLine, tt.base)
			}
			if !img.noCGO {
				t.Error("the programs are not static: CGO_ENABLED is not 0")
			}
			img.checkPrograms(t, tt.programs)
			img.checkSources(t)
			if user := img.last["USER"]; len(user) == 0 || user[len(user)-1] == "root" || strings.HasPrefix(user[len(user)-1], "0") {
				t.Errorf("runs as %v", user)
			}
			build := compose(t).Services[tt.service].Build
			if build == nil || !strings.HasSuffix(filepath.Join(build.Context, build.Dockerfile), tt.file) {
				t.Errorf("docker-compose.yml builds %s from %v", tt.service, build)
			}
		})
	}
}

// checkPrograms: each program, the examples apart, is built from the package that
// the Makefile builds it from, and lies where it is looked for.
func (img image) checkPrograms(t *testing.T, want map[string]string) {
	t.Helper()
	makefile := read(t, "Makefile")
	for file, pkg := range want {
		if got := img.builds[img.files[file]]; got != pkg {
			t.Errorf("%s is built from %q, want %s", file, got, pkg)
		}
		if rule := "-o bin/" + path.Base(file) + " " + pkg + "\n"; !within(pkg, "./deploy/examples") && !strings.Contains(makefile, rule) {
			t.Errorf("the Makefile does not build %s from %s", path.Base(file), pkg)
		}
	}
	if len(img.builds) != len(want) {
		t.Errorf("builds %v, want %v", img.builds, want)
	}
}

// checkSources: all that is copied is there, and all that the programs link.
func (img image) checkSources(t *testing.T) {
	t.Helper()
	context := "\n" + read(t, ".dockerignore")
	for _, source := range img.copied {
		if top, _, _ := strings.Cut(source, "/"); !strings.Contains(context, "\n!"+top+"\n") && !strings.Contains(context, "\n!"+source+"\n") {
			t.Errorf("copies %s, which .dockerignore keeps out", source)
		}
		if _, err := os.Stat(filepath.Join(root, source)); err != nil {
			t.Errorf("copies what is not there: %v", err)
		}
	}
	for _, pkg := range img.builds {
		for _, dep := range deps(t, pkg) {
			info, err := os.Stat(filepath.Join(root, dep))
			if err != nil || !info.IsDir() {
				continue // of another module
			}
			if !slices.ContainsFunc(img.copied, func(folder string) bool { return within(dep, folder) }) {
				t.Errorf("%s needs %s, which is not copied", pkg, dep)
			}
		}
	}
}

// TestKongImageHasWhatKongConfNames: files, prefix, entrypoint.
func TestKongImageHasWhatKongConfNames(t *testing.T) {
	img, conf := dockerfile(t, "kong/Dockerfile"), kongConf(t)
	for file, source := range map[string]string{
		conf["declarative_config"]: "kong/kong.yml",
		"/etc/kong/kong.conf":      "kong/kong.conf",
	} {
		if img.files[file] != source {
			t.Errorf("%s is %q, want %s", file, img.files[file], source)
		}
	}
	if !slices.Contains(img.last["ENV"], "KONG_PREFIX="+conf["prefix"]) {
		t.Errorf("ENV %v does not name the prefix %s, which the base image's entrypoint needs", img.last["ENV"], conf["prefix"])
	}
	entry := img.last["ENTRYPOINT"]
	if len(entry) != 1 || img.files[entry[0]] != "kong/entrypoint.sh" {
		t.Errorf("ENTRYPOINT %v is not kong/entrypoint.sh", entry)
	}
	if !slices.Equal(img.last["CMD"], []string{"kong", "docker-start"}) {
		t.Errorf("CMD %v", img.last["CMD"])
	}
	if dir := img.last["WORKDIR"]; !slices.Equal(dir, []string{"/"}) {
		t.Errorf("starts in %v: Kong must not start where a ./kong is", dir)
	}
	info, err := os.Stat(filepath.Join(root, "kong", "entrypoint.sh"))
	if err != nil || info.Mode()&0o111 == 0 {
		t.Errorf("kong/entrypoint.sh cannot be executed: %v", err)
	}
}

// TestImagesKnowTheirVersion: an image is built without git, so that its programs
// would say (devel). TestDist shows that the same flag gives every program its version.
func TestImagesKnowTheirVersion(t *testing.T) {
	const variable = "github.com/earlybird/earlybird/identity/program.version=$"
	if !strings.Contains(read(t, "Makefile"), "-X "+variable+"(VERSION)") {
		t.Errorf("the Makefile does not set %s", variable)
	}
	for file, services := range map[string][]string{
		"deploy/images/identity.Dockerfile": {"identity", "earlybird"}, "kong/Dockerfile": {"kong"},
	} {
		if text := read(t, file); !strings.Contains(text, "\nARG VERSION=\nENV GOFLAGS=-ldflags=-X="+variable+"VERSION\n") {
			t.Errorf("%s passes no VERSION to the build", file)
		}
		for _, name := range services {
			build := composeWith(t, types.Mapping{"EARLYBIRD_VERSION": "v1.2.3"}).Services[name].Build
			if given := build.Args["VERSION"]; given == nil || *given != "v1.2.3" {
				t.Errorf("docker-compose.yml builds %s without its version", name)
			}
		}
	}
}
