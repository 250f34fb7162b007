package page

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/campaign"
)

// book is a log in the making, sealed as anybody can do it from what
// deploy/docs/campaign.md says.
type book struct {
	campaign.Store
	entries []campaign.Entry
	at      time.Time
}

// add appends an entry, some seconds after the one before.
func (b *book) add(t *testing.T, seconds int, e campaign.Entry) {
	t.Helper()
	b.at = b.at.Add(time.Duration(seconds) * time.Second)
	e.Campaign, e.Seq, e.At, e.ID = 1, int64(len(b.entries)), b.at, fmt.Sprint(len(b.entries))
	var prev campaign.Hash
	if e.Seq > 0 {
		prev = b.entries[e.Seq-1].Hash
	}
	text, err := e.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	members := map[string]any{}
	numbers := json.NewDecoder(bytes.NewReader(text))
	numbers.UseNumber()
	if err := numbers.Decode(&members); err != nil {
		t.Fatal(err)
	}
	delete(members, "hash")
	text, err = json.Marshal(members) // sorted, and no text here needs an escape
	if err != nil {
		t.Fatal(err)
	}
	e.Hash = sha256.Sum256(append(prev[:], text...))
	b.entries = append(b.entries, e)
}

// Entries implements campaign.Store.
func (b *book) Entries(context.Context, int64, int64) iter.Seq2[campaign.Entry, error] {
	return func(yield func(campaign.Entry, error) bool) {
		for _, e := range b.entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (b *book) fold(t *testing.T) *campaign.Fold {
	t.Helper()
	f, err := campaign.NewAdmin(campaign.AdminConfig{Store: b}).Campaign(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// begun is a campaign of these slots that starts a minute after its first entry.
func begun(t *testing.T, slots int64) (*book, campaign.Settings) {
	t.Helper()
	b := &book{at: noon.Add(-time.Minute)}
	s := campaign.Settings{Name: "Launch", Discount: 30, Slots: slots, Waitlist: 2, StartsAt: noon}
	b.add(t, 0, campaign.Entry{Kind: campaign.KindStart, By: "ada", Origin: "O", Epoch: 1 << 20, Settings: &s, Limit: slots})
	return b, s
}

func written(t *testing.T, r Report) string {
	t.Helper()
	if r.Names == nil {
		r.Names = func(ids []string) (map[string]string, error) {
			names := map[string]string{}
			for _, id := range ids {
				names[id] = "name-of-" + id
			}
			return names, nil
		}
	}
	r.MadeAt, r.By, r.LogSHA256, r.Mirror = noon.Add(time.Hour), "auditor", "SUM", "complete up to 1:2"
	var b strings.Builder
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestReport: what the log says is in the report, with its times. The campaign has
// two slots. A and B fill it 4 s after the start; C and D wait; A is disqualified,
// so that C is granted; a third slot grants D; E waits.
func TestReport(t *testing.T) {
	b, s := begun(t, 2)
	b.add(t, 60, campaign.Entry{Kind: campaign.KindOpen, By: "clock", Limit: 2})
	b.add(t, 2, campaign.Entry{Kind: campaign.KindArrive, Users: []string{"A"}, First: 1})
	b.add(t, 2, campaign.Entry{Kind: campaign.KindArrive, Users: []string{"B", "C", "D"}, First: 2})
	b.add(t, 10, campaign.Entry{Kind: campaign.KindVoid, By: "judge", User: "A", Limit: 3})
	s.Slots, s.Description = 3, "more"
	b.add(t, 10, campaign.Entry{Kind: campaign.KindChange, By: "bob", Settings: &s, Limit: 4})
	b.add(t, 70, campaign.Entry{Kind: campaign.KindArrive, Users: []string{"E"}, First: 5})
	b.add(t, 5, campaign.Entry{Kind: campaign.KindEnd, By: "bob", Limit: 4})
	body := written(t, Report{Fold: b.fold(t), TurnedAway: 12, Reasons: map[string]string{"1:0000000004": "a bot"}, Findings: []campaign.Finding{
		{Kind: campaign.FindingNoLogin, UserID: "B", Detail: "no login"},
	}})
	for _, want := range []string{
		"Report on campaign 1, ended at 2026-11-22 12:01:39 UTC. Written at 2026-11-22 13:00:00 UTC by <bdi>auditor</bdi>",
		"<dt>Granted</dt><dd>3 of 3</dd>", "<dt>Waiting in line</dt><dd>1</dd>", "<dt>Disqualified</dt><dd>1</dd>",
		`<span class="ok">no promise is broken</span>; to look at: 1</dd>`,
		"<td>4.0 s (at 2026-11-22 12:00:04 UTC)</td>",
		"3 came when all slots were taken and got a place in line; 2 of them with a grant now.", "12 more logged in",
		`<th scope="row">Discount</th><td>30 %</td><td>the same</td>`, `<th scope="row">Slots</th><td>2</td><td><b>3</b></td>`,
		`<tr><td>5</td><td class="time">2026-11-22 12:00:24 UTC</td><td><bdi>bob</bdi></td><td>description: &#34;&#34; → &#34;more&#34;; slots: 2 → 3</td></tr>`,
		`<td>1</td><td><bdi>name-of-A</bdi></td><td>disqualified</td><td class="time">2026-11-22 12:00:14 UTC</td><td><bdi>judge</bdi></td><td>a bot</td>`,
		"5 arrivals. The most were 4 a minute, at 2026-11-22 12:00:00 UTC.", "3 of 3 slots are granted; full: 4.0 s",
		"<td>no login</td><td>no</td><td><bdi>B</bdi></td>", "Redis is complete up to 1:2", "<code>SUM</code>", "head -n 8 | sha256sum",
		`<tr><td>2</td><td><bdi>name-of-B</bdi></td><td><code>B</code></td><td class="time">2026-11-22 12:00:04.000</td></tr>`,
		`<tr><td>3</td><td><bdi>name-of-C</bdi></td><td><code>C</code></td><td class="time">2026-11-22 12:00:14.000</td></tr>`,
		`<tr><td>4</td><td><bdi>name-of-D</bdi></td><td><code>D</code></td><td class="time">2026-11-22 12:00:24.000</td></tr>`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("lacks %s", want)
		}
	}
	if strings.Contains(body, "<script") || strings.Contains(body, "src=") || strings.Contains(body, "<td>1</td><td><bdi>name-of-A</bdi></td><td><code>") {
		t.Error("it has a script, loads something, or has a disqualified winner")
	}
	if t.Failed() {
		t.Log(body)
	}
}

// TestReportOfNothing: a campaign that was canceled has no arrivals to plot.
func TestReportOfNothing(t *testing.T) {
	b, _ := begun(t, 2)
	b.add(t, 5, campaign.Entry{Kind: campaign.KindEnd, By: "ada", Limit: 2})
	body := written(t, Report{Fold: b.fold(t)})
	for _, want := range []string{"canceled before its start.", "not all slots were granted", "Nobody was.", "Nobody yet.", "no differences"} {
		if !strings.Contains(body, want) {
			t.Errorf("lacks %s in\n%s", want, body)
		}
	}
	if strings.Contains(body, "<svg") {
		t.Error("it plots nothing")
	}
}

// TestLargeReport: 100,000 winners are looked up a few hundred at a time, and a
// look-up that fails fails the report.
func TestLargeReport(t *testing.T) {
	const winners = 100_000
	b, _ := begun(t, winners)
	b.add(t, 60, campaign.Entry{Kind: campaign.KindOpen, By: "clock", Limit: winners})
	for first := int64(1); first <= winners; first += 500 {
		users := make([]string, 500)
		for i := range users {
			users[i] = fmt.Sprintf("U%d", first+int64(i))
		}
		b.add(t, 3, campaign.Entry{Kind: campaign.KindArrive, Users: users, First: first})
	}
	most := 0
	r := Report{Fold: b.fold(t), Findings: make([]campaign.Finding, winners)}
	r.Names = func(ids []string) (map[string]string, error) {
		most = max(most, len(ids))
		return nil, nil
	}
	body := written(t, r)
	if rows := strings.Count(body, "<i>no account</i>"); rows != winners || most > namesAtOnce {
		t.Errorf("%d rows, %d names at once", rows, most)
	}
	if !strings.Contains(body, "And 99000 more, which <code>earlybird campaign audit --campaign 1</code> lists.") {
		t.Error("all findings are written out, or what is left out is not said")
	}
	looks, down := 0, errors.New("mongodb is down")
	r.Names = func([]string) (map[string]string, error) {
		if looks++; looks == 5 {
			return nil, down
		}
		return nil, nil
	}
	if err := r.Write(io.Discard); !errors.Is(err, down) || looks != 5 {
		t.Errorf("%v after %d look-ups", err, looks)
	}
}
