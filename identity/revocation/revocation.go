// Package revocation ends tokens before they expire: one token by its id, or
// every token of a user by raising the user's generation.
//
// MongoDB is the truth ([Store]); a stream in Redis carries it to every edge
// within a second. Whoever checks tokens follows the stream with a [Feed] and
// asks that, which costs no network call. The identity service writes with a
// [Writer] and runs a [Publisher], which gives Redis what it lacks: after Redis
// was emptied or restarted, and after a process died between the two.
//
// It is imported by the identity service, by the plugins at the edge and by the
// command line, so it knows no store and nothing of Kong.
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

// Store keeps revocations. Every method may also return an *outage.Error when
// the store does not answer. Implementations pass revocationtest.Run.
type Store interface {
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

// PendingError reports a revocation that is stored but that the edges have not
// been told of, because Redis did not answer. The identity service obeys it and
// tells them as soon as Redis is back.
type PendingError struct{ Err error }

func (e *PendingError) Error() string {
	return fmt.Sprintf("revocation is stored, not announced: %v", e.Err)
}

func (e *PendingError) Unwrap() error { return e.Err }
