package campaign_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/campaigntest"
	"github.com/earlybird/earlybird/identity/redisdb"
	"github.com/earlybird/earlybird/identity/unavailable"
)

// step is one step of a model run.
type step struct {
	op      string
	who, n  int           // a replica or a user, by op
	wait    time.Duration // after the step
	variant int
}

func (s step) String() string {
	return fmt.Sprintf("%s(%d,%d,%d)+%s", s.op, s.who, s.n, s.variant, s.wait)
}

const (
	modelReplicas = 3
	modelUsers    = 24
)

// ops are what can happen, the frequent ones more often.
var ops = []string{
	"login", "login", "login", "login", "login", "login", "login", "login", "promotion", "promotion",
	"append", "append", "faults", "calm", "calm", "partition", "heal", "elect", "crash",
	"pause", "resume", "resume", "extend", "void", "reinstate", "end", "start", "start", "clock",
	"mirror", "mirror", "mirrorcalm", "backup", "disaster",
}

func drawSteps(rt *rapid.T) []step {
	return rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
		return step{
			op:      rapid.SampledFrom(ops).Draw(rt, "op"),
			who:     rapid.IntRange(0, modelReplicas-1).Draw(rt, "who"),
			n:       rapid.IntRange(0, modelUsers-1).Draw(rt, "n"),
			variant: rapid.IntRange(0, 7).Draw(rt, "variant"),
			wait:    rapid.SampledFrom([]time.Duration{0, 0, time.Millisecond, 7 * time.Millisecond, 60 * time.Millisecond, 400 * time.Millisecond, 2500 * time.Millisecond}).Draw(rt, "wait"),
		}
	}), 30, 90).Draw(rt, "steps")
}

// TestModel runs replicas, commands and logins against a database and a mirror
// that fail in every way the log must bear, and holds every answer against the
// committed log. `go test -run TestModel -rapid.checks N` runs it for longer;
// the log says how many steps that were.
func TestModel(t *testing.T) {
	steps := 0
	rapid.Check(t, func(rt *rapid.T) {
		script := drawSteps(rt)
		steps += len(script)
		var faults []string
		synctest.Test(t, func(t *testing.T) { faults = newModel(t).run(script) })
		if len(faults) > 0 {
			rt.Fatalf("after %v:\n%s", script, strings.Join(faults, "\n"))
		}
	})
	t.Logf("%d steps", steps)
}

var modelVerbose = flag.Bool("model.verbose", false, "log what the replicas of the model log")

// model is a world: a database, a mirror, replicas, and everything that clients
// were told.
type model struct {
	t       *testing.T
	cluster *campaigntest.Cluster
	mirror  *campaigntest.Mirror
	procs   [modelReplicas]*proc
	calls   sync.WaitGroup
	stepped bool                 // the database's clock is not ours
	backup  *campaigntest.Backup // nil: none was made

	judge campaigntest.Judge

	mu     sync.Mutex
	faults []string
}

// proc is a replica that can crash.
type proc struct {
	store   *campaigntest.Client
	replica *campaign.Replica
	stop    context.CancelFunc
}

const mirrorTimeout = 100 * time.Millisecond

// limited is the mirror as an identity calls it: bounded in time, and left alone
// for a second after a call has failed.
type limited struct {
	campaign.Mirror
	breaker *redisdb.Breaker
}

func within[T any](ctx context.Context, l limited, call func(context.Context) (T, error)) (answer T, err error) {
	err = l.breaker.Do(ctx, mirrorTimeout, func(ctx context.Context) (err error) {
		answer, err = call(ctx)
		return err
	})
	return answer, err
}

func (l limited) State(ctx context.Context) (campaign.MirrorState, error) {
	return within(ctx, l, l.Mirror.State)
}

func (l limited) Apply(ctx context.Context, b campaign.Batch) (campaign.MirrorState, error) {
	return within(ctx, l, func(ctx context.Context) (campaign.MirrorState, error) { return l.Mirror.Apply(ctx, b) })
}

func (l limited) Turn(ctx context.Context, me string, at campaign.Place, waited time.Duration) (campaign.TurnAnswer, error) {
	return within(ctx, l, func(ctx context.Context) (campaign.TurnAnswer, error) { return l.Mirror.Turn(ctx, me, at, waited) })
}

func (l limited) Release(ctx context.Context, me string) error {
	_, err := within(ctx, l, func(ctx context.Context) (bool, error) { return true, l.Mirror.Release(ctx, me) })
	return err
}

func newModel(t *testing.T) *model {
	m := &model{t: t, cluster: campaigntest.NewCluster(), mirror: campaigntest.NewMirror()}
	m.judge.Committed = m.cluster.History
	for i := range m.procs {
		m.start(i)
	}
	return m
}

func (m *model) start(i int) {
	ctx, stop := context.WithCancel(m.t.Context())
	store := m.cluster.Client(fmt.Sprintf("replica-%d", i))
	w := io.Writer(io.Discard)
	if *modelVerbose {
		w = m.t.Output()
	}
	r := campaign.NewReplica(campaign.ReplicaConfig{
		Store: store, Mirror: limited{m.mirror, &redisdb.Breaker{Probe: mirrorTimeout}}, Log: slog.New(slog.NewTextHandler(w, nil)).With("replica", i),
	})
	m.procs[i] = &proc{store: store, replica: r, stop: stop}
	m.calls.Go(func() { _ = r.Run(ctx) })
}

func (m *model) fault(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = append(m.faults, fmt.Sprintf(format, args...))
}

func (m *model) run(script []step) []string {
	time.Sleep(time.Second)
	m.admin(campaign.Start(campaign.Settings{Name: "first", Discount: 30, Slots: 4, Waitlist: 6}))
	for _, s := range script {
		m.step(s)
		time.Sleep(s.wait)
		synctest.Wait()
		m.check()
		if len(m.faults) > 0 {
			break
		}
	}
	m.calm()
	for entries := -1; entries < len(m.cluster.History()); { // the clock may have ended a campaign just now
		entries = len(m.cluster.History())
		time.Sleep(10 * time.Second)
	}
	synctest.Wait()
	m.check()
	m.checkQuiet()
	for _, p := range m.procs {
		p.stop()
	}
	m.calls.Wait()
	time.Sleep(10 * time.Second) // what is still on its way to the database ends
	return m.faults
}

func (m *model) calm() {
	m.cluster.Heal()
	m.cluster.SetFaults(campaigntest.Faults{})
	for _, p := range m.procs {
		p.store.SetFaults(campaigntest.Faults{})
	}
	m.mirror.Calm()
}

// faultsOf are the faults of a client by number.
func faultsOf(variant int) campaigntest.Faults {
	return []campaigntest.Faults{
		{Before: 5 * time.Millisecond},
		{After: 5 * time.Millisecond},
		{Before: 300 * time.Millisecond, After: 300 * time.Millisecond},
		{Replicate: 40 * time.Millisecond},
		{Replicate: 3 * time.Second},
		{Refuse: true},
		{Before: 1500 * time.Millisecond},
		{},
	}[variant]
}

// appendFaults are the faults of one insert by number.
func appendFaults(variant int) campaigntest.Faults {
	return []campaigntest.Faults{
		{Lose: campaigntest.LoseAnswer},
		{Lose: campaigntest.LoseRequest},
		{Before: 3 * time.Second}, // it lands when nobody waits for it any more
		{After: 3 * time.Second},
		{Resend: 20 * time.Millisecond},
		{Lose: campaigntest.LoseAnswer, Resend: 10 * time.Millisecond},
		{Replicate: 700 * time.Millisecond},
		{Before: 60 * time.Millisecond},
	}[variant]
}

func (m *model) step(s step) {
	p := m.procs[s.who]
	user := fmt.Sprintf("u%02d", s.n)
	switch s.op {
	case "login":
		m.calls.Go(func() { m.judge.Place(m.t.Context(), p.replica, user) })
	case "promotion":
		m.calls.Go(func() { m.promotion(p, user) })
	case "append":
		p.store.NextAppend(appendFaults(s.variant))
	case "faults":
		p.store.SetFaults(faultsOf(s.variant))
	case "calm":
		m.calm()
	case "partition":
		p.store.Partition()
	case "heal":
		m.cluster.Heal()
	case "elect":
		m.cluster.Elect(campaigntest.Election{Survive: s.n % 3, Lag: time.Duration(s.variant) * 100 * time.Millisecond})
	case "crash":
		p.stop()
		m.start(s.who)
	case "clock":
		m.stepped = true
		m.cluster.Step([]time.Duration{time.Second, -time.Second, 30 * time.Second, -30 * time.Second}[s.variant%4])
	case "pause":
		m.command(campaign.Pause())
	case "resume":
		m.command(campaign.Resume())
	case "extend":
		m.command(campaign.Revise(func(c *campaign.Settings) { c.Slots += int64(s.n%4) + 1 }))
	case "void":
		m.command(campaign.Void(user))
	case "reinstate":
		m.command(campaign.Reinstate(user))
	case "end":
		m.command(campaign.End())
	case "start":
		c := campaign.Settings{Name: "next", Discount: 20, Slots: int64(s.n%5) + 1, Waitlist: int64(s.variant)}
		if s.variant%2 == 1 {
			c.StartsAt = time.Now().Add(time.Second)
			c.EndsAt = c.StartsAt.Add(time.Duration(s.n) * time.Second / 2).Add(time.Second)
		}
		m.command(campaign.Start(c))
	case "mirror":
		m.mirrorFault(s)
	case "mirrorcalm":
		m.mirror.Calm()
	case "backup":
		b := m.cluster.Backup()
		m.backup = &b
	case "disaster":
		if m.backup != nil {
			m.disaster(s)
			m.backup = nil
		}
	}
}

// disaster brings the database back as it was at the last backup, while the
// mirror, or what a replica remembers, has everything. Nothing may be appended
// before the operator has put it back, or given it up.
func (m *model) disaster(s step) {
	ctx := m.t.Context()
	m.calm()
	time.Sleep(6 * time.Second) // commands and logins end, the mirror is filled
	before := m.cluster.History()
	if !m.mirrorHolds(before) || m.skewed() {
		return
	}
	m.cluster.SetFaults(campaigntest.Faults{Refuse: true}) // a server that is restored was stopped
	time.Sleep(3 * time.Second)
	m.cluster.Restore(*m.backup)
	m.cluster.SetFaults(campaigntest.Faults{})
	backup := m.cluster.History()
	if len(backup) == len(before) {
		return // nothing was lost
	}
	if s.variant >= 4 { // only the replicas remember
		m.mirror.Flush()
	}
	time.Sleep(2 * time.Second)
	for i, p := range m.procs {
		if status := p.replica.Place(ctx, fmt.Sprintf("new%d", i)).Status; status != campaign.StatusRetry {
			m.fault("while the log lacked entries replica %d told a login %s", i, status)
		}
	}
	if got := len(m.cluster.History()); got != len(backup) {
		m.fault("%d entries were appended while the log lacked some", got-len(backup))
	}
	a := campaign.NewAdmin(campaign.AdminConfig{Store: m.cluster.Client("admin"), Mirror: m.mirror, By: "admin"})
	if s.variant%2 == 0 {
		n, err := a.Restore(ctx, func(int) {})
		var diverged *campaign.DivergedError
		if errors.As(err, &diverged) { // the stream does not reach back to the backup
			m.acceptLoss(a)
			return
		}
		if err != nil || n != len(before)-len(backup) {
			m.fault("restore inserted %d entries of %d: %v", n, len(before)-len(backup), err)
		}
		time.Sleep(2 * time.Second)
		after := m.cluster.History()
		for _, e := range before {
			if !slices.ContainsFunc(after, func(restored campaign.Entry) bool { return restored.Hash == e.Hash }) {
				m.fault("restore did not bring %s back", e.DocumentID())
			}
		}
		m.judge.Forget(false) // the order in which entries were committed is another now
		return
	}
	m.acceptLoss(a)
}

// acceptLoss gives up what the backup did not have: what clients were told
// counts no more.
func (m *model) acceptLoss(a *campaign.Admin) {
	d, err := a.Compare(m.t.Context())
	if err != nil || len(d.Missing) == 0 && d.Broken == nil {
		return
	}
	if _, err := a.AcceptLoss(m.t.Context(), d); err != nil {
		if !errors.Is(err, campaign.ErrRefused) {
			m.fault("the loss was not accepted: %v", err)
			return
		}
		if _, err := a.Restore(m.t.Context(), func(int) {}); err != nil { // the log is empty: there is nothing to go on from
			m.fault("restore: %v", err)
		}
		return
	}
	m.judge.Forget(true)
	time.Sleep(4 * time.Second)
	for i, p := range m.procs {
		if err := p.replica.Ready(); err != nil {
			m.fault("after the loss was accepted replica %d is not ready: %v", i, err)
		}
	}
}

// mirrorHolds reports whether the mirror has all that the backup lacks.
func (m *model) mirrorHolds(all []campaign.Entry) bool {
	held := map[campaign.Hash]bool{}
	for e, err := range m.mirror.Entries(m.t.Context()) {
		if err != nil {
			return false
		}
		held[e.Hash] = true
	}
	for _, e := range m.backup.History() {
		held[e.Hash] = true
	}
	return !slices.ContainsFunc(all, func(e campaign.Entry) bool { return !held[e.Hash] })
}

// skewed reports whether a replica's clock is too far from the database's.
func (m *model) skewed() bool {
	return slices.ContainsFunc(m.procs[:], func(p *proc) bool { return p.replica.Stats().Skew.Abs() > campaign.MaxSkew })
}

func (m *model) mirrorFault(s step) {
	switch s.variant {
	case 0:
		m.mirror.Suffer(campaigntest.MirrorFaults{Fail: errors.New("refused")})
	case 1:
		m.mirror.Suffer(campaigntest.MirrorFaults{Delay: 80 * time.Millisecond})
	case 2:
		m.mirror.Suffer(campaigntest.MirrorFaults{Delay: time.Second})
	case 3, 4:
		m.mirror.Flush()
	case 5:
		m.mirror.Lose(campaigntest.Parts[s.n%len(campaigntest.Parts)])
	case 6:
		m.mirror.Rollback(s.n)
	case 7:
		m.mirror.Suffer(campaigntest.MirrorFaults{Lose: errors.New("reset")})
	}
}

// command runs a command of an operator beside everything else.
func (m *model) command(c campaign.Change) { m.calls.Go(func() { m.admin(c) }) }

func (m *model) admin(c campaign.Change) {
	ctx := m.t.Context()
	a := campaign.NewAdmin(campaign.AdminConfig{Store: m.cluster.Client("admin"), Mirror: m.mirror, By: "admin"})
	if _, err := a.Read(ctx); err != nil {
		return
	}
	_, err := m.judge.Commit(ctx, a, c)
	var conflict *campaign.ConflictError
	var uncertain *campaign.UncertainError
	var behind *campaign.BehindError
	var invalid *campaign.InvalidError
	switch {
	case err == nil:
	case errors.As(err, &conflict), errors.As(err, &invalid), errors.As(err, &uncertain), unavailable.Is(err),
		errors.Is(err, campaign.ErrRefused), errors.Is(err, campaign.ErrNoCampaign), errors.Is(err, context.Canceled):
	case errors.As(err, &behind):
		m.fault("a command found the log behind, and no backup was restored: %v", err)
	default:
		m.fault("a command failed with %T: %v", err, err)
	}
}

func (m *model) promotion(p *proc, user string) {
	err := m.judge.Promotion(m.t.Context(), p.replica, user)
	var none *campaign.NoGrantError
	if err != nil && !errors.As(err, &none) && !unavailable.Is(err) {
		m.fault("Promotion failed with %T: %v", err, err)
	}
}

// check holds the committed log and every answer so far against the rules.
func (m *model) check() {
	all := m.cluster.History()
	for _, f := range m.judge.Faults(all) {
		m.fault("%s", f)
	}
	if err := campaigntest.CheckMirror(m.mirror.Peek(), all); err != nil {
		m.fault("%v", err)
	}
}

// checkQuiet: once nothing fails any more, everybody knows the same: the
// replicas are ready, and the mirror is the log of the campaign in force.
func (m *model) checkQuiet() {
	all, apart := m.cluster.History(), false
	for i, p := range m.procs {
		switch err := p.replica.Ready(); {
		case err != nil && p.replica.Stats().Skew.Abs() > campaign.MaxSkew:
			apart = true
		case err != nil:
			m.fault("replica %d is not ready once all is quiet: %v", i, err)
		}
	}
	if apart {
		return
	}
	state := m.mirror.Peek()
	if err := campaigntest.CheckComplete(state, all); err != nil {
		m.fault("once all is quiet %v", err)
	}
	if age := time.Since(state.Beat); age > time.Second && !m.stepped && campaigntest.InForce(all) > 0 {
		m.fault("once all is quiet the beat is %s old", age)
	}
}
