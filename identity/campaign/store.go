package campaign

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Errors of a Store; compare with errors.Is.
var (
	// ErrNoEntry: the log has no entry there.
	ErrNoEntry = errors.New("no such entry")
	// ErrTaken: the log has an entry there, this one or another. It may still be
	// rolled back: read before anything is concluded from it.
	ErrTaken = errors.New("the entry's place is taken")
)

// Store is the log as a database keeps it, one document an entry.
// campaigntest.RunStore holds every implementation to what is written here.
// Every method returns an *outage.Error when the database does not answer or
// cannot do it now.
type Store interface {
	// Origin returns the database's random id. The first call of all makes it.
	Origin(ctx context.Context) (string, error)
	// Now returns the database's clock.
	Now(ctx context.Context) (time.Time, error)
	// Append inserts the entry. nil: a majority has it, it is decided. ErrTaken:
	// another entry, or this one, was there. Any other error says nothing of
	// whether the entry is, or will be, in the log. It is sent once, never again.
	Append(ctx context.Context, e Entry) error
	// Entry returns one entry that a majority has, or ErrNoEntry. It is
	// linearizable: it sees every entry that was acknowledged, anywhere, before
	// the call. A document that is no entry is a *DamageError; an entry of a kind
	// that this version does not know is returned as it is.
	Entry(ctx context.Context, campaign, seq int64) (Entry, error)
	// Entries yields the entries of a campaign from a sequence number on, in
	// order, that a majority has; the last ones may be missing. It ends with the
	// first error.
	Entries(ctx context.Context, campaign, from int64) iter.Seq2[Entry, error]
}

// Mirror is the copy of the log that Redis carries to the edges: a prefix of the
// log of the campaign in force. campaigntest.RunMirror holds every implementation
// to what is written here. Every method returns an *outage.Error when Redis does
// not answer.
//
// The mirror decides nothing. Whatever happens to it, it is filled anew.
type Mirror interface {
	// State returns what the mirror holds.
	State(ctx context.Context) (MirrorState, error)
	// Apply brings the mirror forward by a batch, and returns what it holds then.
	Apply(ctx context.Context, b Batch) (MirrorState, error)
	// Turn asks for the turn to append, as me, for 200 ms. It is given when
	// nobody else has it and the mirror is not ahead of at. It is a hint: it
	// makes appends cheap, and the log is right without it.
	Turn(ctx context.Context, me string, at Place) (TurnAnswer, error)
	// Seize takes the turn from whoever has it, as me, for a second.
	Seize(ctx context.Context, me string) error
	// Release gives the turn back if me has it.
	Release(ctx context.Context, me string) error
	// Clear empties the mirror if its place is still at and its origin origin: the
	// way to take it over from another database. It reports whether it did.
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
	Intact bool      // nothing of it is missing: it can be built upon
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
	// Known is the sequence number of the last entry that the caller has, at or
	// after the last of Entries. A mirror that is not intact may be all that is
	// left of a longer log: it begins anew only for a caller who has everything
	// that its Place and Stream show. To others Apply says AnswerAhead.
	Known int64
	// Beat is the database's time, for a batch after which the mirror is
	// complete. Zero: no beat.
	Beat time.Time
	// Release is who gives the turn back. Empty: nobody.
	Release string
}

// TurnAnswer is what Turn says.
type TurnAnswer string

// The answers of Turn.
const (
	TurnGiven  TurnAnswer = "given"
	TurnTaken  TurnAnswer = "taken"  // somebody else has it
	TurnBehind TurnAnswer = "behind" // the mirror is ahead of the asker, who must read on first
)

func isTaken(err error) bool { return errors.Is(err, ErrTaken) }
