package campaign

import "time"

// Log holds the logs of the campaigns that still matter: the campaign in force,
// which is the last one that has opened, and those started after it. It is not
// safe for concurrent use.
type Log struct {
	Origin string // the database's random id

	first   int64 // the number of the first campaign that is held
	inForce *Fold // nil: no campaign has opened
	latest  *Fold // the last one that was started; nil: none was
}

// InForce is the campaign whose discount applies: the last one that has opened,
// even if it has ended since. nil: none has opened.
func (l *Log) InForce() *Fold { return l.inForce }

// Latest is the last campaign that was started, open or not. nil: none was.
func (l *Log) Latest() *Fold { return l.latest }

// Current is the campaign that a person means who names none: the latest, unless it
// was canceled before it opened and an earlier one is in force. nil: none was
// started.
func (l *Log) Current() *Fold {
	if f := l.latest; f != nil && f.phase == PhaseEnded && !f.opened && l.inForce != nil {
		return l.inForce
	}
	return l.latest
}

// Standing is how a user stands in the campaign in force, as GET /promotion tells
// it: StatusGranted, or why there is no grant. position is the user's position, which
// is the rank of a grant; 0: none.
func (l *Log) Standing(user string) (standing string, position int64) {
	if l.inForce == nil {
		return string(StatusNone), 0
	}
	position = l.inForce.Position(user)
	if _, ok := l.inForce.Grant(position); ok {
		return string(StatusGranted), position
	}
	return l.inForce.standing(position), position
}

// folds returns the campaigns whose logs can still grow: the one in force and
// the latest. While a later campaign is scheduled, the one in force can still get
// voids and reinstatements.
func (l *Log) folds() []*Fold {
	switch {
	case l.latest == nil:
		return nil
	case l.inForce == nil || l.inForce == l.latest:
		return []*Fold{l.latest}
	default:
		return []*Fold{l.inForce, l.latest}
	}
}

// fold is the campaign with this number, if its log can still grow; else nil.
func (l *Log) fold(campaign int64) *Fold {
	for _, f := range l.folds() {
		if f.campaign == campaign {
			return f
		}
	}
	return nil
}

// following returns the number of the next campaign, and whether it can be
// started now.
func (l *Log) following() (campaign int64, ok bool) {
	if l.latest == nil {
		return l.first, true
	}
	return l.latest.campaign + 1, l.latest.phase == PhaseEnded
}

// place is the place of the last entry of the latest campaign.
func (l *Log) place() Place {
	if l.latest == nil {
		return Place{Seq: -1}
	}
	return l.latest.At()
}

// epochOfNext is the epoch of the next campaign. It is greater than every earlier
// epoch, including those of a campaign that was missing from a backup and given
// up.
func (l *Log) epochOfNext() int64 {
	campaign, _ := l.following()
	return max(campaign*epochs, l.place().Epoch+1)
}

// apply adds the next entry of a log that can still grow, or begins the log of
// the next campaign.
func (l *Log) apply(e Entry) error {
	if f := l.fold(e.Campaign); f != nil {
		if err := f.apply(e); err != nil {
			return err
		}
	} else if err := l.begin(e); err != nil {
		return err
	}
	if l.latest.opened {
		l.inForce = l.latest
	}
	return nil
}

func (l *Log) begin(e Entry) error {
	campaign, ok := l.following()
	switch {
	case !ok || e.Campaign != campaign:
		return &DamageError{Entry: e.DocumentID(), Reason: "begins a campaign while another one has not ended"}
	case e.Kind == KindStart && e.Origin != l.Origin:
		return &DamageError{Entry: e.DocumentID(), Reason: "was written in another database, origin " + e.Origin}
	}
	f := newFold(campaign)
	if err := f.apply(e); err != nil {
		return err
	}
	l.latest = f
	return nil
}

// due returns the open or end entry that is due at a time, and whether there is
// one.
func (l *Log) due(at time.Time) (Entry, bool) {
	f := l.latest
	if f == nil || f.phase == PhaseEnded {
		return Entry{}, false
	}
	switch ends := f.settings.EndsAt; {
	case !f.opened && !at.Before(f.settings.StartsAt) && (ends.IsZero() || at.Before(ends)):
		return f.draft(KindOpen, byClock, at), true
	case !ends.IsZero() && !at.Before(ends):
		return f.draft(KindEnd, byClock, at), true
	}
	return Entry{}, false
}

// byClock is Entry.By of entries that were due by the clock.
const byClock = "clock"

// draft returns the next entry of a kind, without the fields that are particular
// to the kind. finish sets its limit and its hash.
func (f *Fold) draft(kind Kind, by string, at time.Time) Entry {
	at = at.UTC().Truncate(time.Millisecond)
	if at.Before(f.lastAt) {
		at = f.lastAt
	}
	return Entry{Campaign: f.campaign, Seq: f.seq() + 1, Kind: kind, At: at, By: by}
}

// finish sets the entry's limit and hash.
func (f *Fold) finish(e Entry) Entry {
	if e.Kind != KindArrive {
		e.Limit = f.limitAfter(e)
	}
	e.seal(f.Hash())
	return e
}

// arrive returns the entry that gives users the next positions: as many of them
// as there are places left.
func (f *Fold) arrive(users []string, at time.Time) Entry {
	n := min(int64(len(users)), f.Room(), maxUsers)
	e := f.draft(KindArrive, "", at)
	e.Users, e.First = users[:n], f.Last()+1
	return f.finish(e)
}
