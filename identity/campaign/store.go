package campaign

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Errors of a Store; compare with errors.Is.
var (
	// ErrNoEntry: the log has no entry with this sequence number.
	ErrNoEntry = errors.New("no such entry")
	// ErrTaken: the log has an entry with this sequence number, this one or
	// another. It may still be rolled back: read the log before deciding anything.
	ErrTaken = errors.New("the entry's place is taken")
)

// Store is the log in a database, one document for each entry.
// campaigntest.RunStore tests this contract on every implementation.
// Every method returns an *unavailable.Error when the database does not answer or
// cannot do it now.
type Store interface {
	// Origin returns the database's random id. The first call ever creates it.
	Origin(ctx context.Context) (string, error)
	// Now returns the database's clock.
	Now(ctx context.Context) (time.Time, error)
	// Append inserts the entry. nil: a majority has it, and it is decided.
	// ErrTaken: another entry, or this one, was there before. After any other error
	// the entry may be in the log, or may yet appear there. Append sends the entry
	// once and never retries.
	Append(ctx context.Context, e Entry) error
	// Entry returns one entry that a majority has, or ErrNoEntry. The read is
	// linearizable: it sees every entry that was acknowledged to any client before
	// the call. A document that is not an entry is a *DamageError; an entry of an
	// unknown kind is returned as it is.
	Entry(ctx context.Context, campaign, seq int64) (Entry, error)
	// Entries yields the entries of a campaign that a majority has, in order, from
	// a sequence number on. It may miss the latest ones. It stops at the first
	// error.
	Entries(ctx context.Context, campaign, from int64) iter.Seq2[Entry, error]
}

// Mirror is the copy of the log in Redis, for the edges: a prefix of the log of
// the campaign in force. campaigntest.RunMirror tests this contract on every
// implementation. Every method returns an *unavailable.Error when Redis does
// not answer.
//
// The mirror decides nothing. If it loses data, replicas fill it again from the
// log.
type Mirror interface {
	// State returns what the mirror holds.
	State(ctx context.Context) (MirrorState, error)
	// Apply appends a batch to the mirror and returns the mirror's new state.
	Apply(ctx context.Context, b Batch) (MirrorState, error)
	// Turn asks for the turn to append, for the replica named me, for 200 ms. It is
	// given when the mirror is not ahead of at, no other replica has the turn, and
	// none that asked in the last 100 ms has waited longer. The turn is a hint: it
	// avoids conflicting appends and shares the delay fairly. The log is correct
	// without it.
	Turn(ctx context.Context, me string, at Place, waited time.Duration) (TurnAnswer, error)
	// Seize takes the turn for me for a second, whichever replica has it.
	Seize(ctx context.Context, me string) error
	// Release gives the turn back if me has it.
	Release(ctx context.Context, me string) error
	// Clear empties the mirror if it still has this place and origin, and reports
	// whether it did. This is how an operator takes the mirror over from another
	// database.
	Clear(ctx context.Context, origin string, at Place) (bool, error)
	// Entries yields what the mirror's stream holds, in order.
	Entries(ctx context.Context) iter.Seq2[Entry, error]
}

// MirrorState is what the mirror holds at one moment.
type MirrorState struct {
	Origin string    // of the database it is filled from; empty: it holds nothing
	Place            // of the last entry; {0, -1}: no campaign
	Hash   Hash      // of the last entry
	Stream Place     // of the last entry in the stream; {0, -1}: none
	Intact bool      // no part is missing: entries can be added
	Last   int64     // the last position given
	Beat   time.Time // the database's time when a replica last found it complete

	// Answer says what Apply did; State leaves it empty.
	Answer Answer
}

// Answer is what Apply says of a batch.
type Answer string

// The answers of Apply.
const (
	AnswerOK       Answer = "ok"       // the batch is in the mirror
	AnswerMissing  Answer = "missing"  // the mirror ends before the batch begins: send what follows Place
	AnswerAhead    Answer = "ahead"    // the mirror holds all of the batch and more
	AnswerDiverged Answer = "diverged" // the mirror holds another entry in the same place
	AnswerNewer    Answer = "newer"    // the mirror is of a greater epoch
	AnswerForeign  Answer = "foreign"  // the mirror is of another database; nothing was touched
)

// Batch is what Apply adds to the mirror.
type Batch struct {
	Origin string
	Epoch  int64 // of the log; 0 with no campaign
	// Campaign is the campaign's number; 0: none.
	Campaign int64
	// From is the sequence number of the first of Entries, and Prev the hash of
	// the entry before it. Without Entries the batch says that From-1 is the last.
	From    int64
	Prev    Hash
	Entries []Entry // of at most maxUsers users; the first batch of a campaign reaches its open
	// Known is the sequence number of the last entry that the caller has, which may
	// be after the last of Entries. A mirror that is not intact may be all that is
	// left of a longer log. Apply therefore starts it again only for a caller that
	// has everything up to the mirror's Place and Stream; others get AnswerAhead.
	Known int64
	// Beat is the database's time, for a batch after which the mirror is
	// complete. Zero: no beat.
	Beat time.Time
	// Release names the replica that gives the turn back. Empty: none.
	Release string
}

// TurnAnswer is what Turn says.
type TurnAnswer string

// The answers of Turn.
const (
	TurnGiven  TurnAnswer = "given"
	TurnNext   TurnAnswer = "next"   // another replica has the turn; the caller is next
	TurnTaken  TurnAnswer = "taken"  // another replica is next
	TurnBehind TurnAnswer = "behind" // the caller is next, but must read the log first: the mirror is ahead of it
)

func isTaken(err error) bool { return errors.Is(err, ErrTaken) }
