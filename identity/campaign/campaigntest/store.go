package campaigntest

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/unavailable"
)

// callTimeout bounds every call of a client, as a driver's own timeout does.
const callTimeout = 5 * time.Second

// Cluster is a replica set in memory that keeps the log. It has what a majority
// has (the committed documents) and a primary, which takes inserts before a
// majority has them (its suffix). After [Client.Partition] there is a second,
// old primary, which takes inserts too and cannot commit any.
//
// All waiting is by timers, and nothing else happens outside of its mutex: it
// can be used inside a testing/synctest bubble, if it was made there.
type Cluster struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever something changed
	primary *node         // its committed documents are those that a majority has
	old     *node         // nil: there is no partition
	faults  Faults
	step    time.Duration // of the database's clock before ours
	elected time.Time
	lag     time.Duration
}

// NewCluster returns an empty cluster without faults.
func NewCluster() *Cluster {
	return &Cluster{changed: make(chan struct{}), primary: &node{committed: map[key]*document{}}}
}

// node is a primary, and what it knows to be committed.
type node struct {
	origin    string
	committed map[key]*document
	suffix    []*document // in the order they were taken in
}

type key struct{ campaign, seq int64 }

// document is one inserted entry. Only its state and time change.
type document struct {
	key     key
	entry   campaign.Entry
	foreign bool // it is no entry
	state   state
	at      time.Time // when a majority had it
}

// state is what became of an insert.
type state int

const (
	pending      state = iota // a primary has it
	acknowledged              // a majority has it, and its writer hears of it
	survived                  // a majority has it; its writer hears of an election
	rolledBack
)

// Faults are what goes wrong with the calls of a client. The zero value is none.
type Faults struct {
	Before    time.Duration // on the way to the database: the effect comes so much later
	Replicate time.Duration // until a majority has what the primary has taken
	After     time.Duration // on the way back
	Refuse    bool          // every call fails, without effect
	Lose      Lose          // the answers of inserts that are lost
	// Resend makes the network deliver every insert again, so long after the
	// first time. Who has lost the first answer waits for the second.
	Resend time.Duration
}

// Lose says which inserts fail although the database is well.
type Lose string

// What can be lost. The caller cannot tell one from the other.
const (
	LoseNothing Lose = ""
	LoseAnswer  Lose = "answer"  // the insert takes effect
	LoseRequest Lose = "request" // it does not
)

// and are both faults at once.
func (f Faults) and(g Faults) Faults {
	f.Before += g.Before
	f.Replicate += g.Replicate
	f.After += g.After
	f.Resend += g.Resend
	f.Refuse = f.Refuse || g.Refuse
	if f.Lose == LoseNothing {
		f.Lose = g.Lose
	}
	return f
}

// SetFaults sets the faults of every client, beside each client's own.
func (c *Cluster) SetFaults(f Faults) { c.edit(func() { c.faults = f }) }

// Step moves the database's clock, forwards or backwards.
func (c *Cluster) Step(d time.Duration) { c.edit(func() { c.step += d }) }

func (c *Cluster) edit(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

// Election says what an election leaves.
type Election struct {
	// Survive is how many inserts of the suffix the new primary has, from the
	// first: they are committed, though their writers get an error. The others
	// are rolled back.
	Survive int
	// Lag makes the new primary late to learn what is committed: for so long,
	// Entries shows what was committed so long before the election.
	Lag time.Duration
}

// Elect replaces the primary. Writers whose inserts it had not committed get an
// error.
func (c *Cluster) Elect(e Election) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := min(e.Survive, len(c.primary.suffix))
	c.primary.commit(kept, survived)
	c.primary.rollBack()
	c.elected, c.lag = time.Now(), e.Lag
	c.change()
}

// Heal ends the partition: the old primary's suffix is rolled back, and its
// clients talk to the primary.
func (c *Cluster) Heal() { c.edit(c.heal) }

func (c *Cluster) heal() {
	if c.old != nil {
		c.old.rollBack()
		c.old = nil
	}
	c.change()
}

// Backup is a dump of the database.
type Backup struct {
	// Origin is the database's id. A dump that was made without the collection
	// meta has none: the restored database makes another.
	Origin    string
	committed map[key]*document
}

// Backup dumps what is committed.
func (c *Cluster) Backup() Backup {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Backup{Origin: c.primary.origin, committed: maps.Clone(c.primary.committed)}
}

// Restore replaces all data by the backup's, and ends a partition. What is on
// its way to the database arrives afterwards.
func (c *Cluster) Restore(b Backup) {
	c.edit(func() {
		c.primary.rollBack()
		c.primary = &node{origin: b.Origin, committed: maps.Clone(b.committed)}
		c.heal()
	})
}

// Damage is what somebody does to a document behind Earlybird's back.
type Damage string

// What can be done to a document. DamageForeign makes one that is not there yet.
const (
	DamageGap     Damage = "gap"     // it is removed
	DamageChain   Damage = "chain"   // its hash is another
	DamageKind    Damage = "kind"    // its kind is "future", as a later version may write it
	DamageForeign Damage = "foreign" // it is replaced by a document that is no entry
)

// Damage damages a committed entry. It panics when there is none.
func (c *Cluster) Damage(id string, how Damage) {
	number, seq, err := campaign.ParseEntryID(id)
	if err != nil {
		panic(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k := key{number, seq}
	d := document{key: k, state: acknowledged, foreign: true, at: time.Now()}
	if how != DamageForeign {
		found := c.primary.committed[k]
		if found == nil {
			panic("campaigntest: no entry " + id + " to damage")
		}
		d = *found
	}
	switch how {
	case DamageGap:
		delete(c.primary.committed, k)
		return
	case DamageChain:
		d.entry.Hash[0] ^= 1
	case DamageKind:
		d.entry.Kind = "future"
	case DamageForeign:
	}
	c.primary.committed[k] = &d
}

// Committed are the entries of a campaign that a majority has, in order: what is
// true, whatever any client is shown.
func (c *Cluster) Committed(number int64) []campaign.Entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	var entries []campaign.Entry
	for _, d := range c.primary.from(number, 0) {
		if !d.foreign {
			entries = append(entries, cloneEntry(d.entry))
		}
	}
	return entries
}

// History are the entries of all campaigns that a majority has, in the order in
// which it came to have them.
func (c *Cluster) History() []campaign.Entry { return c.Backup().History() }

// History are the entries of all campaigns, in the order in which a majority came
// to have them.
func (b Backup) History() []campaign.Entry {
	found := slices.Collect(maps.Values(b.committed))
	slices.SortFunc(found, func(a, b *document) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.key.campaign, b.key.campaign), cmp.Compare(a.key.seq, b.key.seq))
	})
	var entries []campaign.Entry
	for _, d := range found {
		if !d.foreign {
			entries = append(entries, cloneEntry(d.entry))
		}
	}
	return entries
}

// change wakes up who waits for something to change.
func (c *Cluster) change() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// insert is the effect of an insert on a primary. The document is the insert's,
// nil when its place was taken.
func (c *Cluster) insert(n *node, e campaign.Entry, replicate time.Duration) *document {
	k := key{e.Campaign, e.Seq}
	if n.find(k) != nil {
		return nil
	}
	d := &document{key: k, entry: cloneEntry(e)}
	n.suffix = append(n.suffix, d)
	if replicate == 0 {
		c.commit(d)
	} else {
		time.AfterFunc(replicate, func() { c.edit(func() { c.commit(d) }) })
	}
	return d
}

// commit gives a document of the primary's suffix to a majority, and with it
// what was taken in before.
func (c *Cluster) commit(d *document) {
	if i := slices.Index(c.primary.suffix, d); i >= 0 {
		c.primary.commit(i+1, acknowledged)
		c.change()
	}
}

func (n *node) find(k key) *document {
	i := slices.IndexFunc(n.suffix, func(d *document) bool { return d.key == k })
	if i >= 0 {
		return n.suffix[i]
	}
	return n.committed[k]
}

func (n *node) commit(count int, as state) {
	for _, d := range n.suffix[:count] {
		d.state, d.at = as, time.Now()
		n.committed[d.key] = d
	}
	n.suffix = n.suffix[count:]
}

func (n *node) rollBack() {
	for _, d := range n.suffix {
		d.state = rolledBack
	}
	n.suffix = nil
}

// from are the committed documents of a campaign from a sequence number on.
func (n *node) from(number, seq int64) []*document {
	var found []*document
	for k, d := range n.committed {
		if k.campaign == number && k.seq >= seq {
			found = append(found, d)
		}
	}
	slices.SortFunc(found, func(a, b *document) int { return int(a.key.seq - b.key.seq) })
	return found
}

// Client is one process's connection to the cluster.
type Client struct {
	cluster *Cluster
	name    string

	// Under the cluster's mutex.
	faults  Faults
	once    []Faults // of the next appends, instead of faults
	onOld   bool     // it talks to the old primary, while there is one
	appends int
}

var _ campaign.Store = (*Client)(nil)

// Client returns a new connection. The name is for error messages.
func (c *Cluster) Client(name string) *Client { return &Client{cluster: c, name: name} }

// SetFaults sets the faults of this client's calls.
func (s *Client) SetFaults(f Faults) { s.cluster.edit(func() { s.faults = f }) }

// NextAppend sets the faults of one Append: the next, or the one after those that
// were set before. They take the place of the client's others.
func (s *Client) NextAppend(f Faults) { s.cluster.edit(func() { s.once = append(s.once, f) }) }

// Appends is how often Append was called.
func (s *Client) Appends() int {
	s.cluster.mu.Lock()
	defer s.cluster.mu.Unlock()
	return s.appends
}

// Partition leaves this client with the old primary until Heal. The first such
// client cuts the primary off as it is, with its suffix, and another one is
// elected.
//
// The old primary takes inserts and answers duplicates, of its own suffix too;
// it commits nothing, its linearizable reads do not end, and its majority reads
// show what was committed before.
func (s *Client) Partition() {
	c := s.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.old == nil {
		c.old = &node{origin: c.primary.origin, committed: maps.Clone(c.primary.committed), suffix: c.primary.suffix}
		c.primary.suffix = nil
	}
	s.onOld = true
	c.change()
}

// node is the primary that the client talks to.
func (s *Client) node() *node {
	s.onOld = s.onOld && s.cluster.old != nil
	if s.onOld {
		return s.cluster.old
	}
	return s.cluster.primary
}

// down is the error of a call whose answer did not come.
func (s *Client) down(op string, err error) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("fake %s: %s: %w", s.name, op, err)
	}
	return unavailable.New("mongodb", op+" by "+s.name, err)
}

// Errors of calls that failed; each is wrapped as an outage.
var (
	errRefused     = errors.New("connection refused")
	errLost        = errors.New("connection reset")
	errInterrupted = errors.New("interrupted by an election")
)

// call carries out effect, which locks the mutex by itself, after the way there
// and before the way back.
func call[T any](ctx context.Context, s *Client, op string, f Faults, effect func(ctx context.Context) (T, error)) (T, error) {
	var none T
	if f.Refuse {
		return none, s.down(op, errRefused)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := sleep(ctx, f.Before); err != nil {
		return none, s.down(op, err)
	}
	value, err := effect(ctx)
	if err := sleep(ctx, f.After); err != nil {
		return none, s.down(op, err)
	}
	return value, err
}

// sleep waits, and fails when ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	if d == 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// now are the faults of a call that begins now.
func (s *Client) now() Faults {
	s.cluster.mu.Lock()
	defer s.cluster.mu.Unlock()
	return s.faults.and(s.cluster.faults)
}

// wait unlocks the mutex until something changes or ctx ends, and locks it again.
func (c *Cluster) wait(ctx context.Context) error {
	changed := c.changed
	c.mu.Unlock()
	defer c.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Origin implements campaign.Store.
func (s *Client) Origin(ctx context.Context) (string, error) {
	const op = "read the origin"
	return call(ctx, s, op, s.now(), func(ctx context.Context) (string, error) {
		c := s.cluster
		c.mu.Lock()
		defer c.mu.Unlock()
		n := s.node()
		for n == c.old && n.origin == "" { // it cannot be made without a majority
			if err := c.wait(ctx); err != nil {
				return "", s.down(op, err)
			}
			n = s.node()
		}
		if n.origin == "" {
			n.origin = rand.Text()
		}
		return n.origin, nil
	})
}

// Now implements campaign.Store.
func (s *Client) Now(ctx context.Context) (time.Time, error) {
	start := time.Now()
	clock, err := call(ctx, s, "read the clock", s.now(), func(context.Context) (time.Time, error) {
		s.cluster.mu.Lock()
		defer s.cluster.mu.Unlock()
		return time.Now().Add(s.cluster.step).Truncate(time.Millisecond), nil
	})
	if err != nil {
		return time.Time{}, err
	}
	return clock.Add(time.Since(start) / 2), nil
}

// Append implements campaign.Store.
func (s *Client) Append(ctx context.Context, e campaign.Entry) error {
	op := "append " + e.DocumentID()
	f := s.now()
	s.cluster.mu.Lock()
	s.appends++
	if len(s.once) > 0 {
		f, s.once = s.once[0], s.once[1:]
	}
	s.cluster.mu.Unlock()
	before := f.Before
	f.Before = 0 // the way there is the insert's, which goes on when its writer has gone
	_, err := call(ctx, s, op, f, func(ctx context.Context) (struct{}, error) {
		if f.Lose == LoseRequest {
			return struct{}{}, s.down(op, errors.Join(errLost, sleep(ctx, before)))
		}
		answer := s.deliver(e, before, f.Replicate)
		if f.Resend > 0 {
			second := s.deliver(e, before+f.Resend, f.Replicate)
			if f.Lose == LoseAnswer {
				return struct{}{}, s.answered(ctx, op, second)
			}
		}
		err := s.answered(ctx, op, answer)
		if f.Lose == LoseAnswer {
			err = s.down(op, errLost)
		}
		return struct{}{}, err
	})
	return err
}

// delivery is an insert on its way.
type delivery struct {
	arrived  bool
	inserted *document // nil: its place was taken
}

// deliver inserts the entry after some time, at the primary that the client talks
// to by then.
func (s *Client) deliver(e campaign.Entry, after, replicate time.Duration) *delivery {
	var d delivery
	arrive := func() {
		s.cluster.edit(func() {
			d.arrived, d.inserted = true, s.cluster.insert(s.node(), e, replicate)
			s.cluster.change()
		})
	}
	if after == 0 {
		arrive()
	} else {
		time.AfterFunc(after, arrive)
	}
	return &d
}

// answered waits until a majority has what was delivered.
func (s *Client) answered(ctx context.Context, op string, d *delivery) error {
	c := s.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	for !d.arrived || d.inserted != nil && d.inserted.state == pending {
		if err := c.wait(ctx); err != nil {
			return s.down(op, err)
		}
	}
	switch {
	case d.inserted == nil:
		return fmt.Errorf("%s: %w", op, campaign.ErrTaken)
	case d.inserted.state != acknowledged:
		return s.down(op, errInterrupted)
	default:
		return nil
	}
}

// Entry implements campaign.Store.
func (s *Client) Entry(ctx context.Context, number, seq int64) (campaign.Entry, error) {
	op := "read " + campaign.EntryID(number, seq)
	return call(ctx, s, op, s.now(), func(ctx context.Context) (campaign.Entry, error) {
		c := s.cluster
		c.mu.Lock()
		defer c.mu.Unlock()
		n := s.node()
		d := n.find(key{number, seq})
		for n == c.old || d != nil && d.state == pending {
			if err := c.wait(ctx); err != nil {
				return campaign.Entry{}, s.down(op, err)
			}
			if n != s.node() || d != nil && d.state > acknowledged {
				return campaign.Entry{}, s.down(op, errInterrupted)
			}
		}
		if d == nil {
			return campaign.Entry{}, fmt.Errorf("%s: %w", op, campaign.ErrNoEntry)
		}
		return d.read()
	})
}

// Entries implements campaign.Store.
func (s *Client) Entries(ctx context.Context, number, from int64) iter.Seq2[campaign.Entry, error] {
	return func(yield func(campaign.Entry, error) bool) {
		f := s.now()
		found, err := call(ctx, s, "read "+campaign.EntryID(number, from)+" and on", f, func(context.Context) ([]*document, error) {
			c := s.cluster
			c.mu.Lock()
			defer c.mu.Unlock()
			found := s.node().from(number, from)
			if time.Since(c.elected) < c.lag {
				horizon := c.elected.Add(-c.lag)
				found = slices.DeleteFunc(found, func(d *document) bool { return d.at.After(horizon) })
			}
			return found, nil
		})
		if err != nil {
			yield(campaign.Entry{}, err)
			return
		}
		for _, d := range found {
			e, err := d.read()
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// read decodes the document, as it were.
func (d *document) read() (campaign.Entry, error) {
	if d.foreign {
		id := campaign.EntryID(d.key.campaign, d.key.seq)
		return campaign.Entry{}, &campaign.DamageError{Entry: id, Reason: "is no entry: it has no kind"}
	}
	return cloneEntry(d.entry), nil
}

// cloneEntry is a copy that shares no memory.
func cloneEntry(e campaign.Entry) campaign.Entry {
	e.Users = slices.Clone(e.Users)
	if e.Settings != nil {
		settings := *e.Settings
		e.Settings = &settings
	}
	if e.Lost != nil {
		lost := *e.Lost
		e.Lost = &lost
	}
	return e
}
