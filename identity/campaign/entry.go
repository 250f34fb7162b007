package campaign

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// Kind says what an entry decides.
type Kind string

// The kinds of entries.
const (
	KindStart     Kind = "start"     // seq 0: takes the campaign's number
	KindOpen      Kind = "open"      // the start time has passed
	KindArrive    Kind = "arrive"    // users take the next positions
	KindChange    Kind = "change"    // new settings
	KindPause     Kind = "pause"     // logins do not count until resume
	KindResume    Kind = "resume"    //
	KindEnd       Kind = "end"       // by the clock or by hand; only void, reinstate and accept follow
	KindVoid      Kind = "void"      // one user's place no longer counts
	KindReinstate Kind = "reinstate" // it counts again
	KindAccept    Kind = "accept"    // entries that a backup did not have were given up
)

func (k Kind) known() bool {
	switch k {
	case KindStart, KindOpen, KindArrive, KindChange, KindPause, KindResume, KindEnd, KindVoid, KindReinstate, KindAccept:
		return true
	}
	return false
}

// Hash is the SHA-256 that chains an entry to the one before it.
type Hash [sha256.Size]byte

// String returns the hash as 64 hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// ParseHash reads what String returns.
func ParseHash(text string) (Hash, error) {
	var h Hash
	if len(text) != hex.EncodedLen(len(h)) {
		return Hash{}, fmt.Errorf("hash must be %d hexadecimal digits", hex.EncodedLen(len(h)))
	}
	if _, err := hex.Decode(h[:], []byte(text)); err != nil {
		return Hash{}, fmt.Errorf("hash: %w", err)
	}
	return h, nil
}

// Entry is one entry of a campaign's log. Which fields are set depends on Kind.
type Entry struct {
	Campaign int64 // 1 for the first campaign
	Seq      int64 // 0 for the first entry, without gaps
	Kind     Kind
	At       time.Time // by the database's clock, UTC, in milliseconds; not earlier than the previous entry's
	Hash     Hash
	ID       string // random: a writer that got no answer finds its entry by it

	// Every kind but arrive.
	Limit int64  // the last position that is granted, from here on
	By    string // who decided; "clock" for what the clock decided

	Origin   string    // start: the database's random id
	Epoch    int64     // start, accept: of what follows
	Settings *Settings // start, change; reinstate when it adds a slot
	Users    []string  // arrive: 1 to 500 user ids
	First    int64     // arrive: the position of the first of them
	User     string    // void, reinstate
	Lost     *Lost     // accept
}

// Lost describes what an accept entry gives up: the end of a log that only the
// mirror still had.
type Lost struct {
	Place
	Hash Hash
	Last int64 // the last position that had been given
}

// EntryID is an entry's `_id`: campaign and sequence number, the latter with
// ten digits, so that the order of ids is the order of entries.
func EntryID(campaign, seq int64) string { return fmt.Sprintf("%d:%010d", campaign, seq) }

// DocumentID is the entry's own EntryID.
func (e Entry) DocumentID() string { return EntryID(e.Campaign, e.Seq) }

// seal sets the entry's id, if it has none, and its hash, which chains it to the
// previous entry. prev is that entry's hash, or 32 zero bytes for the first.
func (e *Entry) seal(prev Hash) {
	if e.ID == "" {
		e.ID = rand.Text()
	}
	e.Hash = e.chained(prev)
}

// chained computes the hash of the entry when the previous entry's hash is prev:
// SHA-256 over prev, followed by the entry without its hash as RFC 8785 JSON.
func (e Entry) chained(prev Hash) Hash {
	h := sha256.New()
	h.Write(prev[:])
	h.Write(canonical(e.members()))
	return Hash(h.Sum(nil))
}

// timeLayout is the format of times in the canonical JSON: RFC 3339, UTC, with
// milliseconds.
const timeLayout = "2006-01-02T15:04:05.000Z"

// members returns the members of the entry's JSON object, without the hash.
func (e Entry) members() map[string]any {
	m := map[string]any{
		"_id": e.DocumentID(), "kind": string(e.Kind), "at": e.At.UTC().Format(timeLayout), "id": e.ID,
	}
	if e.Kind == KindArrive {
		m["users"], m["first"] = e.Users, e.First
		return m
	}
	m["limit"], m["by"] = e.Limit, e.By
	if e.Kind == KindStart {
		m["origin"] = e.Origin
	}
	if e.Kind == KindStart || e.Kind == KindAccept {
		m["epoch"] = e.Epoch
	}
	if s := e.Settings; s != nil {
		m["name"], m["description"], m["discount"] = s.Name, s.Description, s.Discount
		m["slots"], m["waitlist"] = s.Slots, s.Waitlist
		m["starts_at"] = s.StartsAt.UTC().Format(timeLayout)
		if !s.EndsAt.IsZero() {
			m["ends_at"] = s.EndsAt.UTC().Format(timeLayout)
		}
		if s.Rehearsal { // only where it is set: logs from before it existed keep their hashes
			m["rehearsal"] = true
		}
	}
	if e.User != "" {
		m["user"] = e.User
	}
	if l := e.Lost; l != nil {
		m["lost"] = map[string]any{"epoch": l.Epoch, "seq": l.Seq, "hash": l.Hash.String(), "last": l.Last}
	}
	return m
}

// canonical encodes a value as RFC 8785 JSON. It supports only the types that
// members uses, with strings in UTF-8 and numbers below 2^53.
func canonical(value any) []byte { return appendCanonical(nil, value) }

func appendCanonical(b []byte, value any) []byte {
	switch v := value.(type) {
	case string:
		return appendString(b, v)
	case bool:
		return strconv.AppendBool(b, v)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case []string:
		b = append(b, '[')
		for i, s := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(b, s)
		}
		return append(b, ']')
	case map[string]any:
		b = append(b, '{')
		for i, key := range slices.Sorted(maps.Keys(v)) { // all names are ASCII: bytes sort as UTF-16 does
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, key), ':')
			b = appendCanonical(b, v[key])
		}
		return append(b, '}')
	default:
		panic(fmt.Sprintf("campaign: %T has no canonical JSON", value))
	}
}

// appendString appends a string as RFC 8785 section 3.2.2.2 requires.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\b':
			b = append(b, `\b`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\f':
			b = append(b, `\f`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r < ' ':
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = append(b, string(r)...)
		}
	}
	return append(b, '"')
}

// MarshalJSON returns the entry as canonical JSON, with its hash. Exported logs
// and the mirror's stream hold entries in this form.
func (e Entry) MarshalJSON() ([]byte, error) {
	m := e.members()
	m["hash"] = e.Hash.String()
	return canonical(m), nil
}

// entryJSON is an entry as JSON, for reading.
type entryJSON struct {
	DocumentID  string    `json:"_id"`
	Kind        Kind      `json:"kind"`
	At          time.Time `json:"at"`
	Hash        string    `json:"hash"`
	ID          string    `json:"id"`
	Limit       int64     `json:"limit"`
	By          string    `json:"by"`
	Origin      string    `json:"origin"`
	Epoch       int64     `json:"epoch"`
	Name        *string   `json:"name"`
	Description string    `json:"description"`
	Discount    int64     `json:"discount"`
	Slots       int64     `json:"slots"`
	Waitlist    int64     `json:"waitlist"`
	StartsAt    time.Time `json:"starts_at"`
	EndsAt      time.Time `json:"ends_at"`
	Rehearsal   bool      `json:"rehearsal"`
	Users       []string  `json:"users"`
	First       int64     `json:"first"`
	User        string    `json:"user"`
	Lost        *struct {
		Epoch int64  `json:"epoch"`
		Seq   int64  `json:"seq"`
		Hash  string `json:"hash"`
		Last  int64  `json:"last"`
	} `json:"lost"`
}

// UnmarshalJSON reads what MarshalJSON returns.
func (e *Entry) UnmarshalJSON(data []byte) error {
	var j entryJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	read := Entry{
		Kind: j.Kind, At: j.At.UTC(), ID: j.ID, Limit: j.Limit, By: j.By,
		Origin: j.Origin, Epoch: j.Epoch, Users: j.Users, First: j.First, User: j.User,
	}
	var err error
	if read.Campaign, read.Seq, err = ParseEntryID(j.DocumentID); err != nil {
		return err
	}
	if read.Hash, err = ParseHash(j.Hash); err != nil {
		return err
	}
	if j.Name != nil {
		read.Settings = &Settings{
			Name: *j.Name, Description: j.Description, Discount: j.Discount, Slots: j.Slots, Waitlist: j.Waitlist,
			StartsAt: j.StartsAt.UTC(), EndsAt: j.EndsAt, Rehearsal: j.Rehearsal,
		}
	}
	if j.Lost != nil {
		read.Lost = &Lost{Place: Place{Epoch: j.Lost.Epoch, Seq: j.Lost.Seq}, Last: j.Lost.Last}
		if read.Lost.Hash, err = ParseHash(j.Lost.Hash); err != nil {
			return err
		}
	}
	*e = read
	return nil
}

// ParseEntryID reads what EntryID returns.
func ParseEntryID(id string) (campaign, seq int64, err error) {
	if _, err := fmt.Sscanf(id, "%d:%d", &campaign, &seq); err != nil || EntryID(campaign, seq) != id || campaign < 1 || seq < 0 {
		return 0, 0, fmt.Errorf("%q is no id of an entry", id)
	}
	return campaign, seq, nil
}
