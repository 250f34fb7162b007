package deploy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/campaign/mirror"
	"github.com/earlybird/earlybird/plugin/earlybird"
	"github.com/earlybird/earlybird/plugin/edge"
)

// headers are what earlybird-auth writes, and what it never does. None has a
// Date: structured-headers 2.1.0 reads one at the end of a dictionary alone.
func headers(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, known := range []edge.KnownGrant{
		{},
		{Unknown: true},
		{Grant: mirror.Grant{Campaign: 1, Rank: 1, Discount: 30}},
		{Grant: mirror.Grant{Campaign: 1 << 40, Rank: 1_000_000, Discount: 100}},
		{Grant: mirror.Grant{Campaign: 7, Rank: 2}},
	} {
		for _, user := range []string{"SEUE3UFRHCKE2JMLX23DIFZJOK", `"\, x="`} {
			header, err := edge.Upstream(user, "HXDR", known)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, header)
		}
	}
	const u, grant = `user="u", token="t"`, `, campaign="1", rank=42, discount=30`
	return append(all,
		"", " ", u+",", u+"\xff", `user="é", token="t"`, `user=u, token="t"`, `user="", token="t"`, `user="u"`, `token="t"`+grant, `user, token`,
		`user=("u"), token="t"`, `user=%"u", token="t"`, `user=:dQ==:, token="t"`, `user="u" token="t"`, `user="u`, `USER="u", token="t"`,
		`discount=30,rank=42;of=100,  campaign="1" ,token="t";v=1,user="u";x`, `user="eve", `+u+`, rank=1`+grant, u+`, scope=(a "b");x, vip, at=1.5`+grant,
		u+`, grant=later`, u+`, grant`, u+`, grant=unknown`+grant, u+`, rank=42`, u+`, campaign="1", rank=42`, u+`, campaign="1", discount=30`,
		u+`, campaign=1, rank=42, discount=30`, u+`, campaign="1", rank=0, discount=30`, u+`, campaign="1", rank, discount=30`,
		u+`, campaign="1", rank=42, discount=101`, u+`, campaign="1", rank=42, discount=-1`, u+`, campaign="1", rank=42, discount=30.5`,
		u+`, campaign="1", rank=42, discount="30"`, u+`, campaign="1", rank=1234567890123456, discount=30`, u+`, campaign="1", rank=42, discount=?1`,
	)
}

// reading is what a service makes of a header. The zero value: not authenticated.
type reading struct {
	User, Token string
	Known       bool
	Campaign    string
	Rank        int64
	Discount    *int64 // nil: there is none to multiply with
}

func readInGo(header string) reading {
	user, err := earlybird.Parse([]string{header})
	if err != nil {
		return reading{}
	}
	r := reading{User: user.ID, Token: user.TokenID}
	if grant, err := user.Grant(); err == nil {
		r.Known, r.Campaign, r.Rank, r.Discount = true, grant.Campaign, grant.Rank, &grant.Discount
	}
	return r
}

// documented returns the code of services.md in a language.
func documented(t *testing.T, language string) string {
	t.Helper()
	_, code, found := strings.Cut(read(t, "deploy/docs/services.md"), "\n```"+language+"\n")
	code, _, ends := strings.Cut(code, "\n```\n")
	if !found || !ends {
		t.Fatalf("services.md has no code in %s", language)
	}
	return code + "\n"
}

// TestServicesInGo: the code in Go is the example's.
func TestServicesInGo(t *testing.T) {
	if code := documented(t, "go"); !strings.Contains(read(t, "deploy/examples/shop/shop.go"), "\n"+code) {
		t.Errorf("the example does not have\n%s", code)
	}
}

// TestServicesInOtherLanguages: the code in Node and Python says of every header
// what the Go package says. Its libraries are in the folders that NODE_PATH and
// PYTHONPATH name. Where they are not it skips, also with
// EARLYBIRD_REQUIRE_REAL=1: CI gets them from registries that may not answer.
func TestServicesInOtherLanguages(t *testing.T) {
	for _, tt := range []struct {
		language, program, file, harness string
		probe                            []string
	}{
		{"js", "node", "user.mjs", `
import { readFileSync } from 'node:fs';
const read = (header) => { try { return readUser(header); } catch { return {}; } };
console.log(JSON.stringify(JSON.parse(readFileSync(0, 'utf8')).map((header) => read(Buffer.from(header, 'base64').toString('latin1')))));
`, []string{"--input-type=module", "--eval", "import 'structured-headers'"}},
		{"python", "python3", "user.py", `

import base64, json, sys

def read(header):
    try:
        return read_user(header)
    except ValueError:
        return {}

print(json.dumps([read(base64.b64decode(header).decode("latin-1")) for header in json.load(sys.stdin)]))
`, []string{"-c", "import http_sf"}},
	} {
		t.Run(tt.program, func(t *testing.T) {
			dir := t.TempDir()
			// Modules are looked for beside the program, not in NODE_PATH.
			if modules := os.Getenv("NODE_PATH"); modules != "" {
				if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
					t.Fatal(err)
				}
			}
			run := func(stdin []byte, args ...string) ([]byte, error) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				cmd := exec.CommandContext(ctx, tt.program, args...)
				cmd.Dir, cmd.Stdin = dir, bytes.NewReader(stdin)
				out, err := cmd.Output()
				return out, err
			}
			if _, err := run(nil, tt.probe...); err != nil {
				t.Skipf("%s or its library is not there: %v", tt.program, err)
			}
			if err := os.WriteFile(filepath.Join(dir, tt.file), []byte(documented(t, tt.language)+tt.harness), 0o600); err != nil {
				t.Fatal(err)
			}
			all := headers(t)
			sent := make([][]byte, len(all)) // as base64: not all is UTF-8
			for i, header := range all {
				sent[i] = []byte(header)
			}
			stdin, err := json.Marshal(sent)
			if err != nil {
				t.Fatal(err)
			}
			out, err := run(stdin, tt.file)
			if err != nil {
				t.Fatalf("%v: %s", err, stderr(err))
			}
			var got []reading
			if err := json.Unmarshal(out, &got); err != nil || len(got) != len(all) {
				t.Fatalf("%d answers for %d headers, %v: %s", len(got), len(all), err, out)
			}
			for i, header := range all {
				if want := readInGo(header); !reflect.DeepEqual(got[i], want) {
					t.Errorf("%q: %s, in Go %s", header, show(got[i]), show(want))
				}
			}
		})
	}
}

func show(r reading) string {
	text, err := json.Marshal(r)
	return fmt.Sprint(string(text), err)
}

// stderr is what a program that failed said.
func stderr(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(exit.Stderr)
	}
	return ""
}
