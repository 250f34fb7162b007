package earlybird_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/earlybird/earlybird/plugin/earlybird"
)

const ada = `user="ADA", token="T1"`

var first = earlybird.Grant{Campaign: "1", Rank: 42, Discount: 30}

// headers are lines of a request, and what they say. A user that is "" is none.
var headers = []struct {
	name  string
	lines []string
	user  string
	grant earlybird.Grant
	err   error // of Grant
}{
	{"no grant", []string{ada}, "ADA", earlybird.Grant{}, nil},
	{"a grant", []string{ada + `, campaign="1", rank=42, discount=30`}, "ADA", first, nil},
	{"unknown", []string{ada + `, grant=unknown`}, "ADA", earlybird.Grant{}, earlybird.ErrUnknown},
	{"no discount in a grant", []string{ada + `, campaign="1", rank=1, discount=0`}, "ADA", earlybird.Grant{Campaign: "1", Rank: 1}, nil},
	{"everything free", []string{ada + `, campaign="1", rank=1, discount=100`}, "ADA", earlybird.Grant{Campaign: "1", Rank: 1, Discount: 100}, nil},

	{"another order and spaces", []string{"  discount=30 ,\trank=42,campaign=\"1\"\t , token=\"T1\",user=\"ADA\"  "}, "ADA", first, nil},
	{"several lines", []string{`user="ADA"`, `token="T1", campaign="1"`, `rank=42, discount=30`}, "ADA", first, nil},
	{"parameters", []string{`user="ADA";v=2;x, token="T1";a=(), campaign="1", rank=42;of=100, discount=30;unit=percent`}, "", earlybird.Grant{}, nil}, // a list is no parameter
	{"parameters that are some", []string{`user="ADA";v=2;x, token="T1", campaign="1", rank=42;of=100, discount=30;unit=percent`}, "ADA", first, nil},
	{"unknown members", []string{ada + `, scope=("a" b), since=@1700000000, name=%"Ad%c3%a8le", vip, campaign="1", rank=42, discount=30, x=1.5`}, "ADA", first, nil},
	{"the last of two counts", []string{`user="EVE", token="T0", rank=1, user="ADA", token="T1", campaign="1", rank=42, discount=30`}, "ADA", first, nil},
	{"the last line counts", []string{`user="EVE", token="T0", campaign="9", rank=1, discount=90`, ada + `, campaign="1", rank=42, discount=30`}, "ADA", first, nil},
	{"another word for the grant", []string{ada + `, grant=later`}, "ADA", earlybird.Grant{}, earlybird.ErrUnknown},
	{"a grant that is no word", []string{ada + `, grant="unknown"`}, "ADA", earlybird.Grant{}, earlybird.ErrUnknown},
	{"unknown, and a grant", []string{ada + `, grant=unknown, campaign="1", rank=42, discount=30`}, "ADA", earlybird.Grant{}, earlybird.ErrUnknown},

	{"no header", nil, "", earlybird.Grant{}, nil},
	{"an empty header", []string{""}, "", earlybird.Grant{}, nil},
	{"spaces", []string{"  "}, "", earlybird.Grant{}, nil},
	{"no user", []string{`token="T1", campaign="1", rank=42, discount=30`}, "", earlybird.Grant{}, nil},
	{"no token", []string{`user="ADA"`}, "", earlybird.Grant{}, nil},
	{"an empty user", []string{`user="", token="T1"`}, "", earlybird.Grant{}, nil},
	{"a user that is a token", []string{`user=ADA, token="T1"`}, "", earlybird.Grant{}, nil},
	{"a user that is a list", []string{`user=("ADA"), token="T1"`}, "", earlybird.Grant{}, nil},
	{"a user that is yes", []string{`user, token="T1"`}, "", earlybird.Grant{}, nil},
	{"another case", []string{`User="ADA", token="T1"`}, "", earlybird.Grant{}, nil},
	{"the rank alone", []string{ada + `, rank=42`}, "", earlybird.Grant{}, nil},
	{"the discount alone", []string{ada + `, discount=30`}, "", earlybird.Grant{}, nil},
	{"the campaign alone", []string{ada + `, campaign="1"`}, "", earlybird.Grant{}, nil},
	{"no discount", []string{ada + `, campaign="1", rank=42`}, "", earlybird.Grant{}, nil},
	{"more than everything", []string{ada + `, campaign="1", rank=42, discount=101`}, "", earlybird.Grant{}, nil},
	{"a surcharge", []string{ada + `, campaign="1", rank=42, discount=-1`}, "", earlybird.Grant{}, nil},
	{"half a percent", []string{ada + `, campaign="1", rank=42, discount=30.5`}, "", earlybird.Grant{}, nil},
	{"a discount that is text", []string{ada + `, campaign="1", rank=42, discount="30"`}, "", earlybird.Grant{}, nil},
	{"rank 0", []string{ada + `, campaign="1", rank=0, discount=30`}, "", earlybird.Grant{}, nil},
	{"a rank beyond numbers", []string{ada + `, campaign="1", rank=1234567890123456, discount=30`}, "", earlybird.Grant{}, nil},
	{"a comma at the end", []string{ada + `,`}, "", earlybird.Grant{}, nil},
	{"a comma too many", []string{`user="ADA",, token="T1"`}, "", earlybird.Grant{}, nil},
	{"cut", []string{`user="ADA", token="T1`}, "", earlybird.Grant{}, nil},
	{"no commas", []string{`user="ADA" token="T1"`}, "", earlybird.Grant{}, nil},
	{"not ASCII", []string{`user="Adèle", token="T1"`}, "", earlybird.Grant{}, nil},
	{"bytes", []string{"\x00\xff"}, "", earlybird.Grant{}, nil},
	{"a line of bytes after a good one", []string{ada, "\xff"}, "", earlybird.Grant{}, nil},
	{"a line break", []string{"user=\"ADA\",\ntoken=\"T1\""}, "", earlybird.Grant{}, nil},
}

func TestParse(t *testing.T) {
	for _, tt := range headers {
		t.Run(tt.name, func(t *testing.T) {
			u, err := earlybird.Parse(tt.lines)
			if (err != nil) != (tt.user == "") || err != nil && !errors.Is(err, earlybird.ErrUnauthenticated) {
				t.Fatalf("%q: %v", tt.lines, err)
			}
			if err != nil && u != (earlybird.User{}) {
				t.Errorf("%q: %v, and %+v", tt.lines, err, u)
			}
			if u.ID != tt.user || (u.TokenID == "T1") != (tt.user != "") {
				t.Errorf("%q: user %q, token %q", tt.lines, u.ID, u.TokenID)
			}
			if tt.user == "" {
				tt.err = earlybird.ErrUnknown // nobody is not somebody without a grant
			}
			if g, err := u.Grant(); g != tt.grant || !errors.Is(err, tt.err) {
				t.Errorf("%q: %+v, %v; want %+v, %v", tt.lines, g, err, tt.grant, tt.err)
			}
		})
	}
}

// FuzzParse: any bytes say who somebody is and what they hold, or that this is
// not known; and what is said can be written down and read again.
func FuzzParse(f *testing.F) {
	for _, h := range headers {
		f.Add(strings.Join(h.lines, "\n"))
	}
	f.Fuzz(func(t *testing.T, header string) {
		u, err := earlybird.Parse(strings.Split(header, "\n"))
		g, unknown := u.Grant()
		if err != nil {
			if u != (earlybird.User{}) || unknown == nil || !errors.Is(err, earlybird.ErrUnauthenticated) {
				t.Fatalf("%q: %v, %+v, %v", header, err, u, unknown)
			}
			return
		}
		if u.ID == "" || u.TokenID == "" || g.Discount < 0 || g.Discount > 100 || (g == earlybird.Grant{}) != (g.Campaign == "" || g.Rank < 1) {
			t.Fatalf("%q: %+v, %+v", header, u, g)
		}
		again := fmt.Sprintf(`user=%s, token=%s`, quote(u.ID), quote(u.TokenID))
		switch {
		case unknown != nil:
			again += ", grant=unknown"
		case g != earlybird.Grant{}:
			again += fmt.Sprintf(`, campaign=%s, rank=%d, discount=%d`, quote(g.Campaign), g.Rank, g.Discount)
		}
		if same, err := earlybird.Parse([]string{again}); err != nil || same != u {
			t.Fatalf("%q: %+v, written as %q: %+v, %v", header, u, again, same, err)
		}
	})
}

// quote writes a string as RFC 9651 section 4.1.6 says.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// Example is a handler that charges whoever holds a grant less.
func Example() {
	handler := func(w http.ResponseWriter, r *http.Request) {
		user, err := earlybird.Parse(r.Header.Values(earlybird.Header))
		if err != nil {
			http.Error(w, "log in", http.StatusUnauthorized)
			return
		}
		grant, err := user.Grant()
		if err != nil {
			w.Header().Set("Retry-After", "5")
			http.Error(w, "the price cannot be told now", http.StatusServiceUnavailable)
			return
		}
		const list = 100_00 // cents
		_, _ = fmt.Fprintln(w, user.ID, "pays", list-list*grant.Discount/100, "cents")
	}
	http.HandleFunc("GET /price", handler)
}
