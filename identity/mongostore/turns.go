package mongostore

import (
	"context"
	"hash/maphash"
	"time"
)

// turnWait is how long a caller waits for its turn. An update takes
// milliseconds: if a caller waits longer, the server does not answer.
const turnWait = 2 * time.Second

// turns lets one caller at a time change a document, among those of this
// process. Two documents may share a turn.
type turns struct {
	seed maphash.Seed
	each []chan struct{}
}

func newTurns() turns {
	t := turns{seed: maphash.MakeSeed(), each: make([]chan struct{}, 64)}
	for i := range t.each {
		t.each[i] = make(chan struct{}, 1)
	}
	return t
}

// lock waits for the turn of a document, and fails when ctx ends or the wait
// is over.
func (t turns) lock(ctx context.Context, id string) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, turnWait)
	defer cancel()
	turn := t.each[maphash.String(t.seed, id)%uint64(len(t.each))]
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
