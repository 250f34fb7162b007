package rehearse

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/campaign"
)

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// played is a rehearsal that went well: n users, a second apart, each answered
// after 100 ms, of whom the first are granted slots.
func played(n int, slots int64) Play {
	p := Play{
		Gateway: "http://gateway", Users: people(n), Rate: 1, System: System{Replicas: 1},
		Outcome: Outcome{Campaign: 3, Name: "Rehearsal", Slots: slots, Granted: min(slots, int64(n)), Hash: "HASH", Position: map[string]int64{}},
	}
	for i, u := range p.Users {
		due := noon.Add(time.Duration(i) * time.Second)
		v := Visit{Due: due, Sent: due, Answered: due.Add(100 * time.Millisecond), Status: campaign.StatusFull}
		position := int64(i + 1)
		if position <= slots {
			v.Status, v.Rank = campaign.StatusGranted, position
		}
		p.Outcome.Position[u.ID] = position
		p.Seen.Visits = append(p.Seen.Visits, v)
		p.Seen.Answers = append(p.Seen.Answers, Answer{At: v.Answered, Took: 100 * time.Millisecond, Status: 200})
	}
	return p
}

// TestChecks: each check fails for its own reason, and for no other.
func TestChecks(t *testing.T) {
	tests := []struct {
		name   string
		spoil  func(p *Play)
		check  string // that fails; "": none
		breaks bool
		detail string
	}{
		{"all is well", func(*Play) {}, "", false, ""},
		{"more granted than slots", func(p *Play) { p.Outcome.Granted = 4 }, "slots", true, "4 slots were granted, where it should be 3; users with a place: 10"},
		{"fewer granted than slots", func(p *Play) { p.Outcome.Granted = 2 }, "slots", true, "2 slots were granted"},
		{"one is overtaken by the next", func(p *Play) {
			p.Outcome.Position["id5"], p.Outcome.Position["id6"] = 6, 5
		}, "order", true, "1 users have a smaller position"},
		{"the last one overtakes all who wait", func(p *Play) {
			for i := 4; i < 10; i++ {
				p.Outcome.Position[fmt.Sprint("id", i)] = int64(i + 1)
			}
			p.Outcome.Position["id10"] = 4
		}, "order", true, "has position 4 before 10"},
		{"two at the same time, in either order", func(p *Play) {
			p.Outcome.Position["id5"], p.Outcome.Position["id6"] = 6, 5
			p.Seen.Visits[5].Sent = p.Seen.Visits[4].Answered
		}, "", false, ""},
		{"who was told nothing may be anywhere", func(p *Play) {
			p.Outcome.Position["id5"], p.Outcome.Position["id6"] = 6, 5
			p.Seen.Visits[4].Status = campaign.StatusRetry
		}, "", false, ""},
		{"another rank was told", func(p *Play) { p.Seen.Visits[1].Rank = 9 }, "answers", true, "was told granted with rank 9 and has position 2"},
		{"full was told of a grant", func(p *Play) { p.Seen.Visits[1].Status = campaign.StatusFull }, "answers", true, "was told full"},
		{"granted was told without a place", func(p *Play) { p.Seen.Visits[9].Status = campaign.StatusGranted }, "answers", true, "was told granted"},
		{"pending was told without a place", func(p *Play) {
			p.Seen.Visits[9].Status = campaign.StatusPending
			delete(p.Outcome.Position, "id10")
		}, "answers", true, "was told pending"},
		{"past the waiting list", func(p *Play) { delete(p.Outcome.Position, "id10") }, "", false, ""},
		{"somebody else's login", func(p *Play) { p.Outcome.Position["stranger"] = 11 }, "strangers", false, "1 places went to others"},
		{"a user with a wrong password", func(p *Play) {
			p.Seen.Visits[9].Status, p.Seen.Visits[9].Problem = "", "401"
			delete(p.Outcome.Position, "id10")
		}, "users", false, "1 of 10 users were not logged in"},
		{"a slow machine", func(p *Play) { p.Seen.Visits[9].Sent = p.Seen.Visits[9].Due.Add(time.Second) }, "rate", false, "up to 1s late"},
		{"more requests than connections", func(p *Play) { p.Seen.Open = MaxConnections + 1 }, "connections", false, "2001 requests"},
		{"429", func(p *Play) { p.Seen.Answers[3].Status = 429 }, "limits", false, "1 answers were 429"},
		{"the log cannot be read", func(p *Play) { p.Outcome = Outcome{Campaign: 3} }, "log", false, "could not be read"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := played(10, 3)
			tt.spoil(&p)
			r := NewReport(p)
			found := ""
			for _, c := range r.Checks {
				if c.OK {
					continue
				}
				found += c.Name
				if c.Breaks != tt.breaks || !strings.Contains(c.Detail, tt.detail) {
					t.Errorf("%+v, want %q", c, tt.detail)
				}
			}
			if found != tt.check || r.Broken() != tt.breaks {
				t.Errorf("%q failed, want %q; broken %t", found, tt.check, r.Broken())
			}
		})
	}
}

func TestSpread(t *testing.T) {
	var took []time.Duration
	for i := range 100 {
		took = append(took, time.Duration(100-i)*time.Millisecond)
	}
	if got := spread(took); got != (Spread{0.05, 0.09, 0.099, 0.1}) {
		t.Errorf("%+v", got)
	}
	if got := spread(took[:1]); got.P50 != got.Max || got.Max == 0 {
		t.Errorf("of one: %+v", got)
	}
	if got := spread(nil); got != (Spread{}) {
		t.Errorf("of none: %+v", got)
	}
}

// TestOverTime: everything is counted once, whatever the width of a bin.
func TestOverTime(t *testing.T) {
	for _, n := range []int{1, 10, 300, 301, 5000} {
		p := played(n, 3)
		p.Seen.Answers = append(p.Seen.Answers, Answer{At: noon, Status: 503}, Answer{At: noon, Status: 429}, Answer{At: noon})
		r := NewReport(p)
		if len(r.OverTime) > mostBins+1 {
			t.Errorf("%d users: %d bins", n, len(r.OverTime))
		}
		var due, logins, other float64
		for _, b := range r.OverTime {
			due += b.Due * r.width.Seconds()
			logins += b.Logins * r.width.Seconds()
			other += (b.Busy + b.Limited + b.Failed) * r.width.Seconds()
		}
		near := func(got, want float64) bool {
			return math.Abs(got-want) < 0.02*float64(len(r.OverTime))*r.width.Seconds()
		}
		if !near(due, float64(n)) || !near(logins, float64(n)) || !near(other, 3) {
			t.Errorf("%d users: %v due, %v logins, %v others", n, due, logins, other)
		}
		if last := r.OverTime[len(r.OverTime)-1]; last.Granted != min(n, 3) {
			t.Errorf("%d users: %d granted in the end", n, last.Granted)
		}
	}
}

func TestFullIn(t *testing.T) {
	if got := NewReport(played(10, 3)).FullIn; got != 2.1 {
		t.Errorf("full after %v s, want 2.1", got)
	}
	if got := NewReport(played(2, 3)).FullIn; got != 0 {
		t.Errorf("full after %v s, though it is not", got)
	}
}

// TestSizing: what a rate needs, from what the system could do.
func TestSizing(t *testing.T) {
	busy := func(p *Play) {
		p.Seen.Answers = append(p.Seen.Answers, Answer{At: p.Seen.Answers[0].At, Status: 503})
	}
	tests := []struct {
		name  string
		spoil func(p *Play)
		want  Sizing
		says  string
	}{
		{"not at its limit", func(*Play) {}, Sizing{Wanted: 1, Best: 1}, "The system took 1 logins a second: it answered up to 1 a second, 99 % of them within 100ms. Its limit was not reached."},
		{
			"at its limit, of unknown size", func(p *Play) { busy(p); p.Rate = 4 },
			Sizing{Wanted: 4, Best: 1, Saturated: true, Times: 5},
			"4 logins a second need 5.0 times the cores that identity has now.",
		},
		{
			"at its limit, of a known size", func(p *Play) { busy(p); p.Rate, p.System = 4, System{Replicas: 2, Cores: 2} },
			Sizing{Wanted: 4, Best: 1, Saturated: true, Times: 5, Cores: 20, Replicas: 11},
			"4 logins a second need 20 cores of identity, which are 10 replicas like those of now and one in reserve.",
		},
		{"slow is its limit too", func(p *Play) {
			for i := range p.Seen.Answers {
				p.Seen.Answers[i].Took = 2 * time.Second
			}
			p.Rate = 2
		}, Sizing{Wanted: 2, Best: 1, Saturated: true, Times: 2.5}, "2 logins a second need 2.5 times"},
		{"enough", func(p *Play) { busy(p); p.Rate = 0.5 }, Sizing{Wanted: 0.5, Best: 1, Saturated: true, Times: 0.7}, "need no more cores than identity has now"},
		{
			"all at one moment", func(p *Play) { busy(p); p.Rate = 0 },
			Sizing{Wanted: 2, Best: 1, Saturated: true, Times: 2.5},
			"10 logins at one moment, all answered within 5s, need 2.5 times",
		},
		{"nobody was logged in", func(p *Play) {
			for i := range p.Seen.Visits {
				p.Seen.Visits[i].Status, p.Seen.Answers[i].Status = "", 401
			}
		}, Sizing{Wanted: 1}, "Nobody was logged in"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := played(10, 3)
			tt.spoil(&p)
			r := NewReport(p)
			if r.Sizing != tt.want {
				t.Errorf("%+v, want %+v", r.Sizing, tt.want)
			}
			if all := strings.Join(r.Meaning, "\n"); !strings.Contains(all, tt.says) {
				t.Errorf("said\n%s\nwant %s", all, tt.says)
			}
		})
	}
}

// TestAddresses: what 429 means depends on where identity saw the users.
func TestAddresses(t *testing.T) {
	for _, tt := range []struct{ addresses, seen, says string }{
		{"", "127.0.0.1", "All users came from this machine's address"},
		{"10.9.0.0/16", "192.0.2.1", "identity saw the users come from 192.0.2.1 and not from 10.9.0.0/16"},
		{"10.9.0.0/16", "10.9.0.1", "see that the gateway trusts this machine as well"},
	} {
		p := played(10, 3)
		p.Addresses, p.SeenFrom = tt.addresses, tt.seen
		for i := range p.Users {
			p.Users[i].Address = AddressIn(network(t, "10.9.0.0/16"), i)
		}
		p.Seen.Answers[0].Status = 429
		if all := strings.Join(NewReport(p).Meaning, "\n"); !strings.Contains(all, tt.says) {
			t.Errorf("%q, %q: %s", tt.addresses, tt.seen, all)
		}
	}
}

func TestFirst(t *testing.T) {
	p := played(30, 3)
	p.Outcome.Position["id1"], p.Outcome.Position["id2"] = 2, 1
	p.Seen.Visits[1].Status = campaign.StatusRetry
	got := NewReport(p).First
	want := []Place{{1, p.Users[1].Name, 1, 0}, {2, p.Users[0].Name, 0, 0.1}, {3, p.Users[2].Name, 2, 2.1}}
	if len(got) != mostFirst || !slices.Equal(got[:3], want) {
		t.Errorf("%d: %+v, want %+v", len(got), got, want)
	}
}

// TestHTML: the page is whole, needs nothing else, and repeats no markup of
// others.
func TestHTML(t *testing.T) {
	p := played(10, 3)
	p.Gateway = `http://gateway/"><script>`
	var b bytes.Buffer
	if err := NewReport(p).HTML(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, want := range []string{"Campaign 3, Rehearsal,", "nobody won anything", "3 of 3 granted, all of them after 2.1s", "100ms (p99)", "7 full, 3 granted", "<code>HASH</code>", "</html>"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q", want)
		}
	}
	if n := strings.Count(page, "<svg"); n != 4 {
		t.Errorf("%d plots", n)
	}
	if found := regexp.MustCompile(`<script|<link|src=|@import|url\(|NaN|ZgotmplZ`).FindString(page); found != "" {
		t.Errorf("the page has %s", found)
	}
}

// TestJSON holds the names of the members.
func TestJSON(t *testing.T) {
	text, err := json.Marshal(NewReport(played(1, 1)))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"campaign":"3","name":"Rehearsal","gateway":"http://gateway","at":"2026-11-29T12:00:00Z","users":1,"rate":1,"addresses":"",` +
		`"logins":1,"told":{"granted":1},"lasted":0.1,"login":{"p50":0.1,"p90":0.1,"p99":0.1,"max":0.1},"user":{"p50":0.1,"p90":0.1,"p99":0.1,"max":0.1},` +
		`"status_429":0,"status_503":0,"failed":0,"open_requests":0,"slots":1,"granted":1,"full_in":0.1,"hash":"HASH","first":[{"position":1,"username":"rehearsal-`
	if !strings.HasPrefix(string(text), want) {
		t.Errorf("got\n%s, want\n%s...", text, want)
	}
	if !strings.Contains(string(text), `"over_time":[{"second":0,"due":1,"logins":1,"status_429":0,"status_503":0,"failed":0,"p50":0.1,"p99":0.1,"granted":1}]`) {
		t.Errorf("got %s", text)
	}
}
