package campaign

import (
	"context"
	"slices"
	"time"
)

// Placement is the identity service's answer to a login about the promotion.
// With StatusPending the user holds a place: a mirror that has reached Place
// shows which.
type Placement struct {
	Status Status
	Place  Place
}

var retry = Placement{Status: StatusRetry}

// Place gives the user the next place in the campaign in force, if the campaign
// is open and the user has no place yet. It takes two seconds at most and never
// fails: if it cannot decide, it returns StatusRetry, and the login may or may not
// have counted.
func (r *Replica) Place(ctx context.Context, user string) Placement {
	began := r.cfg.Now()
	bounded, cancel := context.WithTimeout(ctx, placeTimeout)
	defer cancel()
	p := r.place(bounded, user, began)
	r.cfg.Placed(p.Status, r.cfg.Now().Sub(began))
	return p
}

func (r *Replica) place(ctx context.Context, user string, began time.Time) Placement {
	for fresh, waited, probes := false, false, false; ctx.Err() == nil; {
		r.mu.Lock()
		if r.trouble() != nil {
			r.mu.Unlock()
			return retry
		}
		p, appends, stale := r.decide(user)
		held := r.failing(appends)
		if held && !waited && !probes {
			probes = r.probe()
		}
		if held && (waited || !probes) {
			r.mu.Unlock()
			return retry
		}
		var w *waiter
		if appends {
			w = &waiter{user: user, since: began, done: make(chan struct{})}
			r.queue = append(r.queue, w)
			wake(r.wakeAppender)
		}
		r.mu.Unlock()
		switch {
		case appends:
			if !r.await(ctx, w) {
				return retry
			}
			fresh, waited = false, true
		case !stale || fresh:
			return p
		default:
			if r.fresh(ctx) != nil {
				return retry
			}
			fresh = true
		}
	}
	return retry
}

// failing reports whether a login would most likely wait for nothing: appends
// fail, and either it needs one or the log cannot be read. A login that needs no
// append is answered as long as the log can be read: in a campaign without free
// places no append would ever succeed and end the failure. It is called with mu held.
func (r *Replica) failing(appends bool) bool {
	return r.failed >= failures && (appends || r.cfg.Now().Sub(r.readAt) > readableFor)
}

// probe reports whether a login may try all the same: one in a second may. It is
// called with mu held.
func (r *Replica) probe() bool {
	now := r.cfg.Now()
	if now.Sub(r.probed) < probeEvery {
		return false
	}
	r.probed = now
	return true
}

// decide returns the user's placement according to the log as it is known now;
// whether an append must come first; and whether the log must be read to its end
// before the placement may be returned. mu must be held.
func (r *Replica) decide(user string) (p Placement, appends, stale bool) {
	r.reader.mu.RLock()
	defer r.reader.mu.RUnlock()
	log := r.reader.log
	if _, due := log.due(r.clock.now(r.cfg.Now())); due {
		return Placement{}, true, false
	}
	f := log.InForce()
	if f == nil {
		return Placement{Status: StatusNone}, false, true
	}
	if position := f.Position(user); position > 0 {
		stale = f.Phase() == PhaseEnded || r.cfg.Now().Sub(r.readAt) > freshFor
		return Placement{Status: StatusPending, Place: f.placeOf(position)}, false, stale
	}
	switch f.Phase() {
	case PhaseEnded:
		return Placement{Status: StatusEnded}, false, true
	case PhasePaused:
		return Placement{Status: StatusPaused}, false, true
	case PhaseNone, PhaseScheduled, PhaseOpen:
	}
	if f.Room() == 0 {
		return Placement{Status: StatusFull}, false, true
	}
	return Placement{}, true, false
}

// await waits until the login can be decided again. At its deadline the login
// leaves the queue; an insert in progress may still place the user.
func (r *Replica) await(ctx context.Context, w *waiter) bool {
	select {
	case <-w.done:
		return true
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = slices.DeleteFunc(r.queue, func(other *waiter) bool { return other == w })
	return false
}

// runAppender appends entries while there is anything to append.
func (r *Replica) runAppender(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wakeAppender:
		}
		for ctx.Err() == nil && r.wanted() {
			r.append(ctx)
		}
	}
}

// wanted reports whether there is anything to append. If nothing can be appended
// now, it releases the waiting logins.
func (r *Replica) wanted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.trouble() != nil {
		r.answer(func(*waiter) bool { return true })
		return false
	}
	return r.clockDemands() || len(r.queue) > 0
}

// append appends one entry: the one that is due by the clock, or the arrivals of
// the waiting logins.
func (r *Replica) append(ctx context.Context) {
	turn := r.takeTurn(ctx)
	e, ok := r.draft(ctx)
	if !ok {
		if turn {
			r.releaseTurn(ctx)
		}
		return
	}
	began := r.cfg.Now()
	bounded, cancel := context.WithTimeout(ctx, appendTimeout)
	err := r.cfg.Store.Append(bounded, e)
	cancel()
	took := r.cfg.Now().Sub(began)
	r.cfg.Appended(len(e.Users), took, err)
	r.appended(ctx, e, began, took, err)
	r.fill(ctx, batchesAfterAppend, r.name) // those who wait next do not wait for a mirror that is filled anew
}

// draft returns the next entry to append, and whether there is one. It first
// compares the stores if the last comparison is too old or an insert has failed
// since.
func (r *Replica) draft(ctx context.Context) (Entry, bool) {
	r.mu.Lock()
	compare := r.doubt || r.cfg.Now().Sub(r.checked) >= checkEvery
	r.mu.Unlock()
	if compare {
		if err := r.check(ctx); err != nil {
			r.countFailure(ctx, err)
			return Entry{}, false
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.trouble() != nil {
		return Entry{}, false
	}
	r.reader.mu.RLock()
	defer r.reader.mu.RUnlock()
	log, now := r.reader.log, r.clock.now(r.cfg.Now())
	if e, due := log.due(now); due {
		return log.latest.finish(e), true
	}
	f := log.inForce
	if f == nil || f.phase != PhaseOpen || f.Room() == 0 {
		r.answer(func(*waiter) bool { return true })
		return Entry{}, false
	}
	r.answer(func(w *waiter) bool { return f.Position(w.user) > 0 })
	var users []string
	seen := map[string]bool{}
	for _, w := range r.queue {
		if !seen[w.user] && len(users) < maxUsers {
			seen[w.user] = true
			users = append(users, w.user)
		}
	}
	if len(users) == 0 {
		return Entry{}, false
	}
	return f.arrive(users, now), true
}

// appended handles the result of an insert. Only a clean acknowledgement decides
// anything; after any other result the log is read again.
func (r *Replica) appended(ctx context.Context, e Entry, began time.Time, took time.Duration, err error) {
	r.mu.Lock()
	reader := r.reader
	r.took = took
	r.mu.Unlock()
	if err == nil {
		err = reader.add(e)
	}
	if err == nil {
		r.mu.Lock()
		if r.failed >= failures {
			r.cfg.Log.InfoContext(ctx, "mongodb accepts log entries again")
		}
		r.failed = 0
		if r.readAt.Before(began) {
			r.readAt = began // otherwise the sequence number would have been taken
		}
		r.mu.Unlock()
	} else {
		if !isTaken(err) {
			r.countFailure(ctx, err)
		}
		_ = r.fresh(ctx) // if it fails, so will the next step
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reader.mu.RLock()
	defer r.reader.mu.RUnlock()
	f := r.reader.log.inForce
	r.answer(func(w *waiter) bool { return f != nil && f.Position(w.user) > 0 })
}

// countFailure counts an append that failed or could not be tried. From the third
// failure in a row on, logins no longer wait.
func (r *Replica) countFailure(ctx context.Context, err error) {
	r.mu.Lock()
	r.failed++
	r.doubt = true
	failed := r.failed
	if failed >= failures {
		r.answer(func(*waiter) bool { return true })
	}
	r.mu.Unlock()
	if failed == failures {
		r.cfg.Log.ErrorContext(ctx, "mongodb does not accept log entries: logins are answered with retry", "err", err)
	}
	pause(ctx, jitter(50*time.Millisecond))
}

// answer removes the chosen logins from the queue and wakes them; each then
// decides again. mu must be held.
func (r *Replica) answer(whom func(*waiter) bool) {
	r.queue = slices.DeleteFunc(r.queue, func(w *waiter) bool {
		if !whom(w) {
			return false
		}
		close(w.done)
		return true
	})
}

// takeTurn waits for the turn and reports whether it was given. The append goes
// ahead without it too, for instance when the mirror is down or belongs to another
// database.
func (r *Replica) takeTurn(ctx context.Context) bool {
	began := r.cfg.Now()
	for ctx.Err() == nil && r.cfg.Now().Sub(began) < turnPatience && r.wanted() && !r.Stats().Foreign {
		at, waited := r.inForcePlace(), r.longestWait()
		answer, err := callMirror(ctx, r, func(ctx context.Context) (TurnAnswer, error) {
			return r.cfg.Mirror.Turn(ctx, r.name, at, waited)
		})
		switch {
		case err != nil:
			r.spread(ctx)
			return false
		case answer == TurnGiven:
			return true
		case answer == TurnBehind:
			if r.fresh(ctx) != nil {
				return false
			}
			if at != r.inForcePlace() {
				continue
			}
		}
		// Only the replica that is next needs to ask often.
		again := time.Millisecond
		if answer == TurnTaken {
			again = 5*time.Millisecond + jitter(10*time.Millisecond)
		}
		if !pause(ctx, again) {
			return false
		}
	}
	r.spread(ctx)
	return false
}

func (r *Replica) releaseTurn(ctx context.Context) {
	_, _ = callMirror(ctx, r, func(ctx context.Context) (struct{}, error) { // the turn expires by itself after 200 ms
		return struct{}{}, r.cfg.Mirror.Release(ctx, r.name)
	})
}

func (r *Replica) inForcePlace() Place {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reader.mu.RLock()
	defer r.reader.mu.RUnlock()
	if f := r.reader.log.inForce; f != nil {
		return f.At()
	}
	return Place{Seq: -1}
}

// longestWait is how long the oldest login in the queue has waited.
func (r *Replica) longestWait() (longest time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.cfg.Now()
	for _, w := range r.queue {
		longest = max(longest, now.Sub(w.since))
	}
	return longest
}

// spread waits for a random time, up to four times as long as the last append
// took, so that replicas without the turn do not all append at once.
func (r *Replica) spread(ctx context.Context) {
	r.mu.Lock()
	most := min(4*r.took, spreadMost)
	r.mu.Unlock()
	pause(ctx, jitter(most))
}
