package campaign

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

// TestCanonical holds what RFC 8785 demands where encoding/json differs:
// section 3.2.2.2's escapes, no HTML escaping, U+2028 as it is, members sorted.
func TestCanonical(t *testing.T) {
	value := map[string]any{
		"b": "\u20ac$\x0f\nA'B\"\\\"/\u2028<&>\b\f\r\t\x7f",
		"a": []string{"", "é"},
		"c": map[string]any{"z": int64(-1), "y": int64(1 << 50)},
	}
	const want = `{"a":["","é"],"b":"€$\u000f\nA'B\"\\\"/` + "\u2028" + `<&>\b\f\r\t` + "\x7f" + `","c":{"y":1125899906842624,"z":-1}}`
	if got := string(canonical(value)); got != want {
		t.Errorf("canonical JSON\n%s, want\n%s", got, want)
	}
}

// TestChain holds the hash of a log's first two entries, computed apart with
// sha256sum over the previous hash and the JSON as it stands here.
func TestChain(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 0, 0, 5e6, time.UTC)
	start := Entry{
		Campaign: 1, Kind: KindStart, At: at, ID: "A", Limit: 2, By: "anna", Origin: "O", Epoch: epochs,
		Settings: &Settings{Name: "Früh", Description: "", Discount: 30, Slots: 2, Waitlist: 1, StartsAt: at},
	}
	start.seal(Hash{})
	arrive := Entry{Campaign: 1, Seq: 1, Kind: KindArrive, At: at, ID: "B", Users: []string{"u1", "u2"}, First: 1}
	arrive.seal(start.Hash)
	const startJSON = `{"_id":"1:0000000000","at":"2026-11-22T09:00:00.005Z","by":"anna","description":"","discount":30,"epoch":1048576,` +
		`"id":"A","kind":"start","limit":2,"name":"Früh","origin":"O","slots":2,"starts_at":"2026-11-22T09:00:00.005Z","waitlist":1}`
	if got := string(canonical(start.members())); got != startJSON {
		t.Errorf("start is\n%s, want\n%s", got, startJSON)
	}
	for _, c := range []struct {
		entry Entry
		hash  string
	}{
		{start, "2cb3105caee2e5efd094383eadf1906549919944ba89b6fcf12be9c860242765"},
		{arrive, "7ecd0694988b1d28d2e9e0d6b2218a940af22048fbebb8b6bb57a7951dd8f1bd"},
	} {
		if got := c.entry.Hash.String(); got != c.hash {
			t.Errorf("%s has hash %s, want %s", c.entry.Kind, got, c.hash)
		}
	}
}

// TestChainOfARehearsal holds the hash of a rehearsal's first entry, computed in
// the same way.
func TestChainOfARehearsal(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 0, 0, 5e6, time.UTC)
	start := Entry{
		Campaign: 1, Kind: KindStart, At: at, ID: "A", Limit: 2, By: "anna", Origin: "O", Epoch: epochs,
		Settings: &Settings{Name: "Probe", Slots: 2, Waitlist: 1, StartsAt: at, Rehearsal: true},
	}
	start.seal(Hash{})
	const (
		startJSON = `{"_id":"1:0000000000","at":"2026-11-22T09:00:00.005Z","by":"anna","description":"","discount":0,"epoch":1048576,` +
			`"id":"A","kind":"start","limit":2,"name":"Probe","origin":"O","rehearsal":true,"slots":2,"starts_at":"2026-11-22T09:00:00.005Z","waitlist":1}`
		hash = "3f940cd030297d6c769d4b37e23d1882009c098fe8af2a4e6fae30854c42cd9e"
	)
	if got := string(canonical(start.members())); got != startJSON {
		t.Errorf("start is\n%s, want\n%s", got, startJSON)
	}
	if got := start.Hash.String(); got != hash {
		t.Errorf("it has hash %s, want %s", got, hash)
	}
}

// TestEntryJSON reads back what is written, for every kind.
func TestEntryJSON(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	settings := &Settings{Name: "N", Description: "D\u2028", Discount: 30, Slots: 2, StartsAt: at, EndsAt: at.Add(time.Hour), Rehearsal: true}
	for _, e := range []Entry{
		{Kind: KindStart, Origin: "O", Epoch: epochs, Settings: settings, Limit: 2, By: "x"},
		{Kind: KindOpen, Limit: 2, By: "clock"},
		{Kind: KindArrive, Users: []string{"a", "b"}, First: 7},
		{Kind: KindChange, Settings: &Settings{Name: "N", Slots: 3, StartsAt: at}, Limit: 3, By: "x"},
		{Kind: KindVoid, User: "a", Limit: 4, By: "x"},
		{Kind: KindAccept, Epoch: epochs + 1, Lost: &Lost{Place: Place{Epoch: epochs, Seq: 9}, Hash: Hash{1}, Last: 5}, Limit: 4, By: "x"},
	} {
		t.Run(string(e.Kind), func(t *testing.T) {
			e.Campaign, e.Seq, e.At = 3, 12, at
			e.seal(Hash{7})
			data, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			var got Entry
			if err := json.Unmarshal(data, &got); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, e) || got.chained(Hash{7}) != e.Hash {
				t.Errorf("read back\n%+v, want\n%+v", got, e)
			}
		})
	}
}

func TestParsePlace(t *testing.T) {
	if p, err := ParsePlace("1048576:17"); err != nil || p != (Place{Epoch: epochs, Seq: 17}) {
		t.Errorf("ParsePlace = %v, %v", p, err)
	}
	for _, bad := range []string{"", ":", "1:", "1:-1", "-1:1", "+1:1", "01:1", "1:1:1", "1: 1", "99999999999999999999:1"} {
		if p, err := ParsePlace(bad); err == nil {
			t.Errorf("ParsePlace(%q) = %v, want an error", bad, p)
		}
	}
}
