package deploy_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/earlybird/earlybird/identity/keyring"
)

// secrets makes the secrets in a folder of the test's own and returns it.
func secrets(t *testing.T) string {
	t.Helper()
	needOpenSSL(t)
	dir := filepath.Join(t.TempDir(), "secrets")
	makeSecrets(t, dir)
	return dir
}

// needOpenSSL skips a test without openssl, or fails it where everything must
// be there.
func needOpenSSL(t testing.TB) {
	t.Helper()
	_, err := exec.LookPath("openssl")
	switch {
	case err == nil:
	case os.Getenv("EARLYBIRD_REQUIRE_REAL") == "1":
		t.Fatal("openssl is not there, which deploy/secrets.sh needs")
	default:
		t.Skip("openssl is not there, which deploy/secrets.sh needs")
	}
}

func makeSecrets(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command("sh", filepath.Join(root, "deploy", "secrets.sh"), dir).CombinedOutput()
	if err != nil {
		t.Fatalf("deploy/secrets.sh: %v\n%s", err, out)
	}
	return string(out)
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(data)
	}
	return files
}

// TestSecretsAreWhatComposeTakes: the script makes each secret that
// docker-compose.yml names, and nothing else, and each is used where it is given.
func TestSecretsAreWhatComposeTakes(t *testing.T) {
	project := compose(t)
	made := contents(t, secrets(t))
	for name, s := range project.Secrets {
		dir, file := filepath.Split(s.File)
		if !strings.HasSuffix(dir, "/deploy/secrets/") || made[file] == "" {
			t.Errorf("secret %s is %s, which deploy/secrets.sh does not make", name, s.File)
		}
		delete(made, file)
	}
	if len(made) > 0 {
		t.Errorf("nothing takes what deploy/secrets.sh makes beside: %v", made)
	}
	readers := map[string]string{ // what reads secrets beside the environment
		"kong": read(t, "kong/kong.conf"), "mongodb": read(t, "deploy/compose/mongodb-start.sh"),
		"redis": read(t, "deploy/compose/redis-start.sh"), "mongodb-init": read(t, "deploy/compose/mongodb-init.js"),
	}
	for name, s := range project.Services {
		var given []string
		for _, secret := range s.Secrets {
			given = append(given, secret.Source)
			text := readers[name]
			for _, value := range environment(s) {
				text += "\n" + value
			}
			if !strings.Contains(text, "/run/secrets/"+secret.Source) && !strings.Contains(text, `secret("`+secret.Source+`")`) {
				t.Errorf("%s is given %s and does not read it", name, secret.Source)
			}
		}
		for variable, value := range environment(s) {
			if secret, ok := strings.CutPrefix(value, "/run/secrets/"); ok && !slices.Contains(given, secret) {
				t.Errorf("%s: %s names the secret %s, which it is not given", name, variable, secret)
			}
		}
	}
}

// verdict is a test that only notes how it ended.
type verdict struct {
	testing.TB
	said string
}

func (v *verdict) Helper()      {}
func (v *verdict) Fatal(...any) { v.said = "failed" }
func (v *verdict) Skip(...any)  { v.said = "skipped" }

func TestMissingOpenSSLFailsWhereItIsRequired(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for required, want := range map[string]string{"1": "failed", "": "skipped"} {
		t.Setenv("EARLYBIRD_REQUIRE_REAL", required)
		v := &verdict{TB: t}
		if needOpenSSL(v); v.said != want {
			t.Errorf("EARLYBIRD_REQUIRE_REAL=%s: %s, want %s", required, v.said, want)
		}
	}
}

// TestMakeSecretsRunsTheScript holds the README's command against the Makefile.
func TestMakeSecretsRunsTheScript(t *testing.T) {
	if !strings.Contains(read(t, "deploy/README.md"), "    make secrets ") {
		t.Fatal("deploy/README.md does not start with make secrets")
	}
	if !strings.Contains(read(t, "Makefile"), "\nsecrets: ## Make ") || !strings.Contains(read(t, "Makefile"), "\t@deploy/secrets.sh\n") {
		t.Error("the Makefile has no target secrets that runs deploy/secrets.sh, with a help text")
	}
}

func TestSecretsAreMadeOnce(t *testing.T) {
	dir := secrets(t)
	before := contents(t, dir)
	if out := makeSecrets(t, dir); out != "" {
		t.Errorf("the second time it said:\n%s", out)
	}
	for name, text := range contents(t, dir) {
		if before[name] != text {
			t.Errorf("%s was changed", name)
		}
	}
	if err := os.Remove(filepath.Join(dir, "redis_password")); err != nil {
		t.Fatal(err)
	}
	makeSecrets(t, dir)
	after := contents(t, dir)
	if after["redis_password"] == "" || after["redis_password"] == before["redis_password"] || after["key_secret"] != before["key_secret"] {
		t.Error("it does not make what is missing, and that alone")
	}
}

func TestSecretsAreGood(t *testing.T) {
	dir := secrets(t)
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder is open to others: %v %v", info.Mode(), err)
	}
	if _, err := keyring.LoadSecret(filepath.Join(dir, "key_secret")); err != nil {
		t.Errorf("key_secret: %v", err)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "tls_cert"), filepath.Join(dir, "tls_key"))
	if err != nil {
		t.Fatalf("certificate: %v", err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"localhost", "127.0.0.1", "kong"} {
		if err := leaf.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
	if len(contents(t, dir)["mongo_keyfile"]) > 1024 {
		t.Error("MongoDB takes a key file of 1024 characters at most")
	}
	ignored := read(t, "deploy/secrets/.gitignore")
	if !strings.HasPrefix(ignored, "*\n") {
		t.Error("git would take the secrets")
	}
}
