package httpapi

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/earlybird/earlybird/identity/account"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/limit"
	"github.com/earlybird/earlybird/identity/password"
	"github.com/earlybird/earlybird/identity/revocation"
	"github.com/earlybird/earlybird/identity/token"
)

// Every type that problem.go names, or a refused token has, is in the
// description, which has an example of each that is what problemOf answers.
func TestEveryProblemTypeIsDescribed(t *testing.T) {
	var described struct {
		Components struct {
			Responses map[string]struct {
				Content map[string]struct {
					Examples map[string]struct {
						Summary string
						Value   Problem
					}
				}
			}
			Schemas struct {
				Problem struct {
					Properties struct{ Type struct{ Enum []string } }
				}
			}
		}
	}
	if err := json.Unmarshal(description, &described); err != nil {
		t.Fatal(err)
	}
	want := map[string]*Problem{}
	for _, err := range []error{
		account.ErrBadCredentials, token.ErrExpired, account.ErrUsernameTaken,
		&account.InvalidError{Field: "username", Reason: "must have 3 to 64 characters"},
		&limit.LimitedError{}, &password.BusyError{}, &revocation.PendingError{}, token.ErrNoKeys,
	} {
		p := problemOf(err)
		want[p.Type[strings.LastIndex(p.Type, ":")+1:]] = p
	}
	for standing := range noGrantDetails {
		p := problemOf(&campaign.NoGrantError{Standing: standing})
		if standing == string(campaign.StatusFull) {
			p.Position = 117
		}
		want["no-grant-"+standing] = p
	}
	for status, answer := range described.Components.Responses {
		for name, example := range answer.Content[problemMediaType].Examples {
			p := want[name]
			if p == nil {
				t.Errorf("%s: example %s is of no problem", status, name)
				continue
			}
			p.header = nil
			if example.Summary != p.Title || !reflect.DeepEqual(example.Value, *p) {
				t.Errorf("%s: example %s is %+v, want %+v", status, name, example.Value, *p)
			}
			delete(want, name)
		}
	}
	for name := range want {
		t.Errorf("%s has no example", name)
	}
	source, err := os.ReadFile("problem.go")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`"(tag:earlybird\.example,2026:[a-z-]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(named) < 7 {
		t.Fatalf("only %d types found", len(named))
	}
	for _, r := range token.Refusals() {
		named = append(named, []string{"", r.Type})
	}
	for _, name := range named {
		if !slices.Contains(described.Components.Schemas.Problem.Properties.Type.Enum, name[1]) {
			t.Errorf("%s is not among the types", name[1])
		}
	}
}
