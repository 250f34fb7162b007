package campaign

import (
	"context"
	"time"
)

// Promotion is a user's grant with the campaign's description.
type Promotion struct {
	Grant
	Name        string
	Description string
	Discount    int64 // percent
}

// NoGrantError reports that the user holds no grant, and why.
type NoGrantError struct {
	Standing string // a Status, StandingOpen or StandingDisqualified
	Position int64  // the user's place in the order of first logins; 0: none
}

func (e *NoGrantError) Error() string { return "no grant: " + e.Standing }

// Promotion returns the grant that the user holds. It fails with a
// *NoGrantError, or with an *unavailable.Error when that cannot be decided.
//
// While the log is damaged or lacks entries, a grant that is already known is
// still returned; the absence of one is not.
func (r *Replica) Promotion(ctx context.Context, user string) (Promotion, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	r.mu.Lock()
	loaded := r.reader != nil
	recent := loaded && r.cfg.Now().Sub(r.readAt) <= freshFor
	r.mu.Unlock()
	if !loaded {
		return Promotion{}, notAvailable("not read yet")
	}
	if recent {
		if p, none, _ := r.lookUp(user); none == nil {
			return p, nil
		}
	}
	readErr := r.fresh(ctx)
	p, none, trouble := r.lookUp(user)
	switch {
	case none == nil && (readErr == nil || trouble != nil):
		return p, nil
	case trouble != nil:
		return Promotion{}, trouble
	case readErr != nil:
		return Promotion{}, notAvailable(readErr.Error())
	default:
		return Promotion{}, none
	}
}

// lookUp returns the user's grant, or why there is none. trouble is why the latter
// may be wrong; nil: it is right.
func (r *Replica) lookUp(user string) (p Promotion, none *NoGrantError, trouble error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reader.mu.RLock()
	defer r.reader.mu.RUnlock()
	if r.damage != nil || r.behind != "" {
		trouble = r.trouble()
	}
	f := r.reader.log.inForce
	if f == nil {
		return Promotion{}, &NoGrantError{Standing: string(StatusNone)}, trouble
	}
	position := f.Position(user)
	if g, ok := f.Grant(position); ok {
		s := f.Settings()
		return Promotion{Grant: g, Name: s.Name, Description: s.Description, Discount: s.DiscountOf(g.Rank)}, nil, trouble
	}
	return Promotion{}, &NoGrantError{Standing: f.standing(position), Position: position}, trouble
}

// Stats is the state of a Replica, for metrics.
type Stats struct {
	Ready     bool          // users can be placed
	Behind    bool          // the database lacks entries
	Damaged   bool          // the log is damaged
	Skew      time.Duration // this process's clock minus the database's
	Failed    int           // appends that failed in a row
	Queued    int           // logins waiting for a place
	ReadAge   time.Duration // since the log was last read to its end; 0 before the first time
	Places    int64         // positions given in the campaign in force
	Granted   int64
	Remaining int64 // free slots
	Lag       int64 // entries that the mirror lacked when last seen
	MirrorUp  bool
	Foreign   bool // the mirror belongs to another database
}

// Stats returns the replica's present state.
func (r *Replica) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.cfg.Now()
	s := Stats{
		Ready: r.trouble() == nil, Behind: r.behind != "", Damaged: r.damage != nil,
		Skew: r.clock.skew, Failed: r.failed, Queued: len(r.queue),
		MirrorUp: r.mirror.err == nil, Foreign: r.mirror.foreign,
	}
	if r.reader == nil {
		return s
	}
	s.ReadAge = now.Sub(r.readAt)
	r.reader.mu.RLock()
	defer r.reader.mu.RUnlock()
	if f := r.reader.log.inForce; f != nil {
		s.Places, s.Granted = f.Last(), f.Granted()
		s.Remaining = f.Settings().Slots - s.Granted
		s.Lag = f.seq() + 1
		if r.mirror.state.Epoch == f.epoch {
			s.Lag = f.seq() - r.mirror.state.Seq
		}
	}
	return s
}
