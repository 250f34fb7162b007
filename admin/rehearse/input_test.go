package rehearse

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/campaign"
)

func network(t *testing.T, text string) netip.Prefix {
	t.Helper()
	p, err := netip.ParsePrefix(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParseRate(t *testing.T) {
	for text, want := range map[string]Rate{"200/s": 200, "12000/m": 200, "1800/h": 0.5} {
		if got, err := ParseRate(text); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "200", "0/s", "-1/s", "1.5/s", "200/d", "200/", "/s", "200/s/s", "99999999999/s", "+1/s"} {
		if got, err := ParseRate(bad); err == nil {
			t.Errorf("%q is %v, want an error", bad, got)
		}
	}
	if got := Rate(200).After(5000); got != 25*time.Second {
		t.Errorf("5000 users at 200/s take %s", got)
	}
}

func TestAddressIn(t *testing.T) {
	for _, tt := range []struct {
		network string
		user    int
		want    string
	}{
		{"10.9.0.0/16", 0, "10.9.0.0"},
		{"10.9.0.0/16", 65535, "10.9.255.255"},
		{"10.9.0.0/16", 65536, "10.9.0.0"}, // used again
		{"10.9.7.7/24", 258, "10.9.7.2"},
		{"203.0.113.7/32", 9, "203.0.113.7"},
		{"2001:db8::/48", 258, "2001:db8:0:102::"}, // a /64 each
		{"2001:db8:0:8::/62", 5, "2001:db8:0:9::"},
		{"2001:db8::/64", 258, "2001:db8::102"},
		{"::/0", 1, "0:0:0:1::"},
	} {
		if got := AddressIn(network(t, tt.network), tt.user); got != netip.MustParseAddr(tt.want) {
			t.Errorf("user %d of %s comes from %s, want %s", tt.user, tt.network, got, tt.want)
		}
	}
}

func TestReadUsers(t *testing.T) {
	for name, text := range map[string]string{
		"plain": "ada,first secret\nbob,\"second, \"\"secret\"\"\"\n", "a heading": "Username,Password\nada,first secret\nbob,\"second, \"\"secret\"\"\"\n",
		"BOM and CRLF": "\ufeffusername,password\r\nada,first secret\r\n\r\nbob,\"second, \"\"secret\"\"\"\r\n", "no last line break": "ada,first secret\nbob,\"second, \"\"secret\"\"\"",
	} {
		users, err := ReadUsers(strings.NewReader(text))
		if err != nil || len(users) != 2 || users[0] != (User{Name: "ada", Password: "first secret"}) || users[1] != (User{Name: "bob", Password: `second, "secret"`}) {
			t.Errorf("%s: %+v, %v", name, users, err)
		}
	}
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "there are no accounts"},
		{"a heading alone", "username,password\n", "there are no accounts"},
		{"one column", "ada,secret\nbob\n", "line 2: must be a username and a password"},
		{"three columns", "ada,secret,x\n", "line 1: must be"},
		{"no password", "ada,\n", "line 1: must be"},
		{"a quote", "ada,secret\nbob,se\"cret\n", `line 2: bare "`},
		{"no username", "a,secret\n", "line 1: no username: "},
		{"twice", "ada,secret\nbob,x\nADA,y\n", `line 3: "ADA" is on line 1 as well`},
		{"another encoding", "ada,secr\xe4t\n", "line 1: is not UTF-8"},
	} {
		if _, err := ReadUsers(strings.NewReader(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestNewUsers(t *testing.T) {
	prefix, users := NewUsers(3)
	other, _ := NewUsers(1)
	if !strings.HasPrefix(prefix, Prefix) || prefix == other || users[2].Name != prefix+"000003" || len(users[0].Password) < 20 || users[0].Password == users[1].Password {
		t.Errorf("%q, %q: %d users, %q", prefix, other, len(users), users[2].Name)
	}
}

func TestOutcome(t *testing.T) {
	for _, tt := range []struct {
		header []string
		status campaign.Status
		rank   int64
	}{
		{[]string{`status=granted, campaign="1", rank=42, discount=0`}, campaign.StatusGranted, 42},
		{[]string{"status=full"}, campaign.StatusFull, 0},
		{[]string{`status=pending, place="1:2"`}, campaign.StatusPending, 0}, // from identity itself
		{[]string{"status=retry"}, campaign.StatusRetry, 0},
		{nil, campaign.StatusRetry, 0},
		{[]string{`status="full"`}, campaign.StatusRetry, 0},
		{[]string{"status=future"}, campaign.StatusRetry, 0},
	} {
		if status, rank := outcome(tt.header); status != tt.status || rank != tt.rank {
			t.Errorf("%q: %s %d, want %s %d", tt.header, status, rank, tt.status, tt.rank)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"0": 0, "7": 7 * time.Second, now.Add(time.Minute).Format(http.TimeFormat): time.Minute, now.Add(-time.Minute).Format(http.TimeFormat): 0,
		"": -1, "-7": -1, "soon": -1, "1.5": -1, "99999999999": -1,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
