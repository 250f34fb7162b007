// Package revocation ends tokens before they expire: one token by its id, or
// every token of a user by raising the user's generation.
//
// MongoDB is authoritative ([Store]); a stream in Redis carries revocations to
// every edge within a second. A process that checks tokens follows the stream with
// a [Feed], which answers without a network call. The identity service writes with
// a [Writer] and runs a [Publisher]. The Publisher adds what Redis lacks: after
// Redis was emptied or rolled back, or after a process died between writing to
// MongoDB and writing to Redis.
//
// # The stream
//
// A hash beside the stream describes it: the origin of the database whose
// revocations it holds; its epoch, a random value that changes whenever the stream
// is filled from scratch; the number of entries and the last of them; and the beat,
// the time when an identity service last compared the stream with MongoDB and found
// it complete. Each entry names the previous one. So every follower notices missing
// entries, and also a Redis that was rolled back: either its last entry is older
// than what the follower has read, or a new entry does not follow that one. The
// Publishers then begin a new epoch and add what is missing; the Feeds read the
// stream from its start and forget nothing.
//
// A Feed trusts a stream that is new to it only after it has seen the beat rise.
//
// The identity service, the plugins and the command line import this package, so
// it depends on no store and not on Kong.
package revocation

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/earlybird/earlybird/identity/token"
)

// margin is added for clocks that differ between those who forget and those
// who verify.
const margin = time.Minute

// Keep is how long a generation is remembered after it was raised, and the
// stream's entries after they were written: no token from before, whose iat may
// lie in the future by the leeway, is accepted anywhere after that.
const Keep = token.Lifetime + 2*token.MaxLeeway + margin

// Revocation ends one token, or every token of a user that is older than a
// generation.
type Revocation struct {
	TokenID string // jti of the token; empty for a generation

	UserID     string // for a generation: whose
	Generation int64  // every token of the user with a smaller gen is dead

	At    time.Time // when it was decided
	Until time.Time // from when on nothing that it ends could be valid anyway
}

// ofToken ends the token with this jti, which expires then.
func ofToken(id string, expires, now time.Time) Revocation {
	return Revocation{TokenID: id, At: stamp(now), Until: stamp(expires.Add(token.MaxLeeway + margin))}
}

// ofGeneration ends the tokens of a user with a generation below this.
func ofGeneration(userID string, generation int64, now time.Time) Revocation {
	return Revocation{UserID: userID, Generation: generation, At: stamp(now), Until: stamp(now.Add(Keep))}
}

// stamp cuts a time to what every store keeps.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// ID names the revocation: the jti, or "user:generation". Two revocations with
// one id are the same.
func (r Revocation) ID() string {
	if r.TokenID != "" {
		return r.TokenID
	}
	return r.UserID + ":" + strconv.FormatInt(r.Generation, 10)
}

// ErrExists reports that a store holds a revocation of this id already.
var ErrExists = errors.New("revocation exists")

// Store keeps revocations. Every method may also return an *unavailable.Error when
// the store does not answer. Implementations pass revocationtest.Run.
type Store interface {
	// Origin returns the random id of the database, which never changes. Redis
	// carries it beside the revocations; one that carries another is left alone.
	Origin(ctx context.Context) (string, error)

	// AddRevocation stores r durably, or fails with ErrExists when one with
	// its ID is there: of two concurrent calls exactly one succeeds. A call
	// whose answer was lost and that the store repeats may find itself there.
	AddRevocation(ctx context.Context, r Revocation) error

	// Revocations yields, in no order, what was decided at or after a time and
	// is needed beyond now; the zero time: everything needed. It reads from the
	// primary: what AddRevocation has stored is there.
	Revocations(ctx context.Context, since, now time.Time) iter.Seq2[Revocation, error]

	// PruneRevocations removes what is not needed beyond now.
	PruneRevocations(ctx context.Context, now time.Time) error
}

// PendingError reports a revocation that is stored but not known to the edges,
// because Redis did not answer or holds another database's (a
// *ForeignError). The identity service obeys it, and announces it to the edges
// as soon as it can.
type PendingError struct{ Err error }

func (e *PendingError) Error() string {
	return fmt.Sprintf("revocation is stored, not announced: %v", e.Err)
}

func (e *PendingError) Unwrap() error { return e.Err }
