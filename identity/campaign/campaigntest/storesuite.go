package campaigntest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/unavailable"
)

// StoreSubject is an empty store under test.
type StoreSubject struct {
	campaign.Store
	// Damage writes to the store's database as somebody else would.
	Damage func(id string, how Damage)
}

// RunStore holds a store to what campaign.Store says. open is called once a test,
// for an empty database each.
//
// What only a replica set has is not in here, since one server cannot show it:
// that an entry which a majority lacks is not read, and that Entry sees what was
// acknowledged before an election. TestCluster holds the fake to that, which
// stands for the replica set wherever it matters.
//
// Each test was seen to fail with its rule taken out of the fake or of mongostore.
func RunStore(t *testing.T, open func(t *testing.T) StoreSubject) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s StoreSubject)
	}{
		{"every kind of entry is read as it was written", everyKind},
		{"an entry that is not there", noEntry},
		{"a place is taken once", taken},
		{"entries come in order, from where they are asked for", inOrder},
		{"a reader may stop", readerStops},
		{"many entries", manyEntries},
		{"one of many appenders gets the place", oneAppender},
		{"a document that is no entry", foreignDocument},
		{"an entry of a later version", laterKind},
		{"a damaged entry is read as it is", damagedEntry},
		{"the origin is made once", originOnce},
		{"the clock goes on", clock},
		{"a caller that has gone", callerGone},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// chained is the entry with the hash that it has after prev: SHA-256 over prev
// and the entry's canonical JSON without the hash.
func chained(prev campaign.Hash, e campaign.Entry) campaign.Entry {
	e.Hash = campaign.Hash{}
	line, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	member := fmt.Appendf(nil, `"hash":"%s",`, e.Hash) // in a string, its quotes would be escaped
	e.Hash = sha256.Sum256(append(prev[:], bytes.Replace(line, member, nil, 1)...))
	return e
}

// at is when the entries of the tests are from.
var at = time.Date(2026, 2, 28, 23, 59, 59, 7e6, time.UTC)

// text has what a database may be tempted to change: quotes, characters of two
// to four bytes and of several code points, in a form that is not normalized,
// line separators, and what looks like an operator.
const text = "\"Früh\\vogel\"   \u2028日本語 🐦\u200d⬛ e\u0301 {\"$date\": 0} $set.a\x01\t\x7f "

// entriesOf is a log with every kind of entry. It is no campaign: a store does
// not judge what it keeps.
func entriesOf() []campaign.Entry {
	const number = 1
	settings := campaign.Settings{
		Name: text, Description: text, Discount: 20, Slots: 400_000, Waitlist: 100_000,
		StartsAt: at.Add(time.Hour), EndsAt: at.Add(48*time.Hour + time.Millisecond), Rehearsal: true,
	}
	endless := settings
	endless.Description, endless.Discount, endless.Waitlist, endless.EndsAt, endless.Rehearsal = "", 0, 0, time.Time{}, false
	many := make([]string, 500)
	for i := range many {
		many[i] = fmt.Sprintf("01JDXH3T%018d", i)
	}
	entries := []campaign.Entry{
		{Kind: campaign.KindStart, Limit: 400_000, By: text, Origin: "ORIGIN", Epoch: number << 20, Settings: &settings},
		{Kind: campaign.KindOpen, Limit: 400_000, By: "clock"},
		{Kind: campaign.KindArrive, Users: []string{text}, First: 1},
		{Kind: campaign.KindArrive, Users: many, First: 2},
		{Kind: campaign.KindPause, Limit: 400_000, By: "ann"},
		{Kind: campaign.KindResume, Limit: 400_000, By: "ann"},
		{Kind: campaign.KindChange, Limit: 400_000, By: "ann", Settings: &endless},
		{Kind: campaign.KindVoid, Limit: 400_001, By: "ann", User: text},
		{Kind: campaign.KindReinstate, Limit: 400_001, By: "ann", User: text},
		{Kind: campaign.KindReinstate, Limit: 400_001, By: "ann", User: "u", Settings: &endless},
		{Kind: campaign.KindEnd, Limit: 400_001, By: "clock"},
		{Kind: campaign.KindAccept, Limit: 400_001, By: "ann", Epoch: number<<20 + 1, Lost: &campaign.Lost{
			Place: campaign.Place{Epoch: number << 20, Seq: 12}, Hash: campaign.Hash{31: 1}, Last: 501,
		}},
	}
	var prev campaign.Hash
	for i := range entries {
		e := &entries[i]
		e.Campaign, e.Seq, e.At, e.ID = number, int64(i), at.Add(time.Duration(i)*time.Millisecond), fmt.Sprintf("ID%d", i)
		*e = chained(prev, *e)
		prev = e.Hash
	}
	return entries
}

// arrivals are n entries of one arrival each.
func arrivals(number int64, n int) []campaign.Entry {
	entries := make([]campaign.Entry, n)
	var prev campaign.Hash
	for i := range entries {
		entries[i] = chained(prev, campaign.Entry{
			Campaign: number, Seq: int64(i), Kind: campaign.KindArrive, At: at, ID: "ID",
			Users: []string{fmt.Sprintf("user%d", i)}, First: int64(i + 1),
		})
		prev = entries[i].Hash
	}
	return entries
}

func appendAll(t *testing.T, s campaign.Store, entries []campaign.Entry) {
	t.Helper()
	for _, e := range entries {
		if err := s.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

// readAll reads until the end or the first error.
func readAll(ctx context.Context, s campaign.Store, number, from int64) (entries []campaign.Entry, err error) {
	for e, err := range s.Entries(ctx, number, from) {
		if err != nil {
			return entries, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func expectEntries(t *testing.T, s campaign.Store, number, from int64, want []campaign.Entry) {
	t.Helper()
	got, err := readAll(t.Context(), s, number, from)
	if err != nil {
		t.Fatalf("entries of campaign %d from %d: %v", number, from, err)
	}
	if !slices.EqualFunc(got, want, equal) {
		t.Errorf("%d entries of campaign %d from %d, want %d:\n%s\nwant\n%s", len(got), number, from, len(want), lines(got), lines(want))
	}
}

func equal(a, b campaign.Entry) bool { return reflect.DeepEqual(a, b) }

// lines are the first entries as JSON.
func lines(entries []campaign.Entry) string {
	var b strings.Builder
	for _, e := range entries[:min(len(entries), 20)] {
		line, _ := json.Marshal(e)
		fmt.Fprintf(&b, "%.300s\n", line)
	}
	return b.String()
}

func everyKind(t *testing.T, s StoreSubject) {
	want := entriesOf()
	appendAll(t, s, want)
	expectEntries(t, s, 1, 0, want)
	var prev campaign.Hash
	for _, w := range want {
		got, err := s.Entry(t.Context(), 1, w.Seq)
		if err != nil {
			t.Fatal(err)
		}
		if !equal(got, w) {
			t.Errorf("%s:\n%swant\n%s", w.Kind, lines([]campaign.Entry{got}), lines([]campaign.Entry{w}))
		}
		if chained(prev, got).Hash != got.Hash {
			t.Errorf("%s: its hash does not follow from what was read", w.Kind)
		}
		prev = got.Hash
	}
}

func noEntry(t *testing.T, s StoreSubject) {
	expectEntries(t, s, 1, 0, nil)
	appendAll(t, s, entriesOf()[:2])
	for _, k := range []key{{1, 2}, {1, 20}, {2, 0}, {10, 0}} {
		if _, err := s.Entry(t.Context(), k.campaign, k.seq); !errors.Is(err, campaign.ErrNoEntry) {
			t.Errorf("entry %s: %v, want ErrNoEntry", campaign.EntryID(k.campaign, k.seq), err)
		}
		expectEntries(t, s, k.campaign, k.seq, nil)
	}
}

func taken(t *testing.T, s StoreSubject) {
	entries := entriesOf()
	appendAll(t, s, entries)
	other := entries[2]
	other.ID = "another"
	for _, again := range []campaign.Entry{entries[0], entries[2], chained(entries[1].Hash, other)} {
		if err := s.Append(t.Context(), again); !errors.Is(err, campaign.ErrTaken) {
			t.Errorf("append %s %s once more: %v, want ErrTaken", again.DocumentID(), again.ID, err)
		}
	}
	expectEntries(t, s, 1, 0, entries)
}

func inOrder(t *testing.T, s StoreSubject) {
	want := map[int64][]campaign.Entry{}
	for _, number := range []int64{1, 2, 10, 11} { // as text, 10 and 11 are between 1 and 2
		want[number] = arrivals(number, 12)
		order := slices.Clone(want[number])
		slices.Reverse(order)
		appendAll(t, s, order)
	}
	for number, entries := range want {
		for _, from := range []int64{0, 1, 9, 10, 11} {
			expectEntries(t, s, number, from, entries[from:])
		}
	}
}

func readerStops(t *testing.T, s StoreSubject) {
	want := arrivals(1, 5)
	appendAll(t, s, want)
	for e, err := range s.Entries(t.Context(), 1, 3) {
		if err != nil || !equal(e, want[3]) {
			t.Errorf("%v, %v, want entry 3", e, err)
		}
		break
	}
	expectEntries(t, s, 1, 0, want)
}

func manyEntries(t *testing.T, s StoreSubject) {
	want := arrivals(1, 1500) // more than the batches of a reader
	appendAll(t, s, want)
	expectEntries(t, s, 1, 0, want)
	expectEntries(t, s, 1, 1400, want[1400:])
}

func oneAppender(t *testing.T, s StoreSubject) {
	var prev campaign.Hash
	var want []campaign.Entry
	for seq := range int64(10) {
		var mu sync.Mutex
		var won []campaign.Entry
		start := make(chan struct{})
		var done sync.WaitGroup
		for i := range 16 {
			done.Go(func() {
				user := fmt.Sprintf("user%d-%d", seq, i)
				e := chained(prev, campaign.Entry{
					Campaign: 1, Seq: seq, Kind: campaign.KindArrive, At: at, ID: user, Users: []string{user}, First: seq + 1,
				})
				<-start
				err := s.Append(t.Context(), e)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					won = append(won, e)
				case !errors.Is(err, campaign.ErrTaken):
					t.Errorf("append by the %d-th at %d: %v, want nil or ErrTaken", i, seq, err)
				}
			})
		}
		close(start)
		done.Wait()
		if len(won) != 1 {
			t.Fatalf("%d appenders were given the place %d, want 1", len(won), seq)
		}
		want = append(want, won[0])
		prev = won[0].Hash
	}
	expectEntries(t, s, 1, 0, want)
}

func foreignDocument(t *testing.T, s StoreSubject) {
	want := arrivals(1, 5)
	appendAll(t, s, want)
	s.Damage(want[3].DocumentID(), DamageForeign)
	var damage *campaign.DamageError
	_, err := s.Entry(t.Context(), 1, 3)
	if !errors.As(err, &damage) || damage.Entry != want[3].DocumentID() {
		t.Errorf("entry: %v, want a DamageError that names %s", err, want[3].DocumentID())
	}
	got, err := readAll(t.Context(), s, 1, 0)
	if !errors.As(err, &damage) || damage.Entry != want[3].DocumentID() {
		t.Errorf("entries: %v, want a DamageError that names %s", err, want[3].DocumentID())
	}
	if !slices.EqualFunc(got, want[:3], equal) {
		t.Errorf("entries before the damage:\n%s", lines(got))
	}
	yielded := 0
	for _, err := range s.Entries(t.Context(), 1, 0) { // goes on after the error, if the store does
		if yielded++; yielded > 4 || (err != nil) != (yielded == 4) {
			t.Errorf("%d-th of the entries: %v, want 3 entries and then an error", yielded, err)
		}
	}
	if err := s.Append(t.Context(), want[3]); !errors.Is(err, campaign.ErrTaken) {
		t.Errorf("append to a damaged place: %v, want ErrTaken", err)
	}
	expectEntries(t, s, 1, 4, want[4:])
}

// An entry of a kind that this version does not know is no damage: a fold tells
// that a newer version is at work.
func laterKind(t *testing.T, s StoreSubject) {
	want := arrivals(1, 3)
	appendAll(t, s, want)
	s.Damage(want[2].DocumentID(), DamageKind)
	got, err := readAll(t.Context(), s, 1, 2)
	if err != nil || len(got) != 1 || got[0].Kind != "future" || got[0].Hash != want[2].Hash {
		t.Errorf("entries: %s, %v, want one of the kind future", lines(got), err)
	}
}

func damagedEntry(t *testing.T, s StoreSubject) {
	want := arrivals(1, 5)
	appendAll(t, s, want)
	s.Damage(want[1].DocumentID(), DamageGap)
	s.Damage(want[2].DocumentID(), DamageChain)
	if _, err := s.Entry(t.Context(), 1, 1); !errors.Is(err, campaign.ErrNoEntry) {
		t.Errorf("entry in the gap: %v, want ErrNoEntry", err)
	}
	got, err := readAll(t.Context(), s, 1, 0)
	if err != nil || len(got) != 4 || got[1].Seq != 2 {
		t.Fatalf("entries around the gap:\n%s%v", lines(got), err)
	}
	if got[1].Hash == want[2].Hash {
		t.Error("a hash that was changed is read as it was written")
	}
}

func originOnce(t *testing.T, s StoreSubject) {
	origins := make([]string, 20)
	start := make(chan struct{})
	var done sync.WaitGroup
	for i := range origins {
		done.Go(func() {
			<-start
			origin, err := s.Origin(t.Context())
			if err != nil {
				t.Error(err)
			}
			origins[i] = origin
		})
	}
	close(start)
	done.Wait()
	slices.Sort(origins)
	if found := slices.Compact(origins); len(found) != 1 || len(found[0]) < 16 {
		t.Errorf("origins %q, want one of 80 bits at least", found)
	}
	if origin, err := s.Origin(t.Context()); err != nil || origin != origins[0] {
		t.Errorf("origin later: %q, %v, want %q", origin, err, origins[0])
	}
}

func clock(t *testing.T, s StoreSubject) {
	first, err := s.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if off := time.Since(first).Abs(); off > time.Second { // the tests' databases are on this machine
		t.Errorf("the database's clock is %s off", off)
	}
	for {
		next, err := s.Now(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if next.After(first) {
			return
		}
		time.Sleep(time.Millisecond) // a fake clock goes on by sleeping alone
		if time.Since(first) > 10*time.Second {
			t.Fatal("the database's clock does not go on")
		}
	}
}

func callerGone(t *testing.T, s StoreSubject) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range map[string]func() error{
		"origin":  func() error { _, err := s.Origin(ctx); return err },
		"now":     func() error { _, err := s.Now(ctx); return err },
		"append":  func() error { return s.Append(ctx, entriesOf()[0]) },
		"entry":   func() error { _, err := s.Entry(ctx, 1, 0); return err },
		"entries": func() error { _, err := readAll(ctx, s, 1, 0); return err },
	} {
		if err := call(); !errors.Is(err, context.Canceled) || unavailable.Is(err) {
			t.Errorf("%s: %v, want context.Canceled and no outage", name, err)
		}
	}
}
