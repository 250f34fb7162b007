package command

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"
	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/admin/output"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
)

// errBroken reports that an audit found what breaks a promise.
var errBroken = errors.New("the audit found broken promises")

// auditReport is what an audit found.
type auditReport struct {
	fold     *campaign.Fold
	mirror   string // what Redis was good for
	edges    string // which edges were compared
	findings []campaign.Finding
}

// campaignAudit folds a campaign's log from its first entry and compares it with
// everything else that says something of the campaign.
func campaignAudit(c *cli.Context) error {
	f, err1 := format(c)
	id, err2 := which(c)
	edges, err3 := edgeFlags(c)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	return withStores(c, func(s *stores) error {
		r, err := s.audit(c.Context, id, edges...)
		if err != nil {
			return err
		}
		if err := writeReport(c, f, r); err != nil {
			return err
		}
		return r.broken()
	})
}

// broken is an error if a promise is.
func (r auditReport) broken() error {
	broken := 0
	for _, found := range r.findings {
		if found.Breaks {
			broken++
		}
	}
	if broken == 0 {
		return nil
	}
	return withHint(fmt.Errorf("%w: %d", errBroken, broken), "deploy/docs/operations.md says of each kind what it means and what to do")
}

// audit compares a campaign's log, 0: of the one that is meant when none is named,
// with all that is at hand, and with the edges at these URLs of their metrics.
func (s *stores) audit(ctx context.Context, id int64, edges ...string) (auditReport, error) {
	// The edges and the mirror first: then whatever they have must be in the log.
	views, unasked := askEdges(ctx, edges)
	summary, mirrorErr := s.mirror.Summary(ctx)
	var stream []campaign.Entry
	if mirrorErr == nil {
		stream, mirrorErr = collect(ctx, s.mirror)
	}
	log, damage := s.campaigns().Read(ctx)
	if log == nil {
		return auditReport{}, damage
	}
	r := auditReport{mirror: "not compared: it holds the campaign in force alone", edges: "not compared: they follow the campaign in force alone"}
	var damaged *campaign.DamageError
	fold, err := s.read(ctx, id)
	switch {
	case fold == nil:
		return r, err
	case errors.As(err, &damaged):
		r.findings = append(r.findings, campaign.Finding{
			Kind: campaign.FindingDamage, Breaks: true,
			Detail: fmt.Sprintf("the entry %s: %s; nothing after it counts", damaged.Entry, damaged.Reason),
		})
	case err != nil:
		return r, err
	}
	r.fold = fold
	if inForce := log.InForce(); inForce != nil && inForce.Campaign() == fold.Campaign() {
		if mirrorErr == nil {
			mirrorErr = s.auditMirror(ctx, &r, summary, stream)
		}
		if mirrorErr != nil {
			r.mirror = "not compared: " + brief(mirrorErr)
		}
		for _, v := range views {
			r.findings = append(r.findings, fold.CompareEdge(v)...)
		}
		r.findings = append(r.findings, unasked...)
		r.edges = edgesCompared(len(views), len(edges))
	}
	at, err := s.mongo.Now(ctx)
	if err != nil {
		return r, err
	}
	from, until := fold.Span(at)
	found, err := fold.CompareLogins(s.mongo.Logins(ctx, from, until), at)
	r.findings = append(r.findings, found...)
	slices.SortStableFunc(r.findings, func(a, b campaign.Finding) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.UserID, b.UserID))
	})
	return r, err
}

func (s *stores) auditMirror(ctx context.Context, r *auditReport, summary mirror.Summary, stream []campaign.Entry) error {
	c := campaign.Copy{MirrorState: summary.MirrorState, Settings: summary.Settings, Limit: summary.Limit}
	for _, e := range stream {
		if e.Campaign == r.fold.Campaign() {
			c.Stream = append(c.Stream, e)
		}
	}
	var err error
	if c.Places, err = s.places(ctx, r.fold); err != nil {
		return err
	}
	after, err := s.mirror.State(ctx)
	if err != nil {
		return err
	}
	c.Changed = after.Place != summary.Place
	r.findings = append(r.findings, r.fold.CompareMirror(c)...)
	r.mirror = fmt.Sprintf("complete up to %s", summary.Place)
	if !summary.Intact {
		r.mirror = "not complete"
	}
	return nil
}

func collect(ctx context.Context, m *mirror.Mirror) ([]campaign.Entry, error) {
	var all []campaign.Entry
	for e, err := range m.Entries(ctx) {
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// placesAtOnce is how many users Redis is asked for in one round trip.
const placesAtOnce = 1000

// places reads what Redis says of everybody who has a place.
func (s *stores) places(ctx context.Context, fold *campaign.Fold) (map[string]campaign.CopyOf, error) {
	found := make(map[string]campaign.CopyOf, fold.Last())
	var users []string
	ask := func() error {
		scores := make([]*redis.FloatCmd, len(users))
		voided := make([]*redis.BoolCmd, len(users))
		_, err := s.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, user := range users {
				scores[i] = p.ZScore(ctx, mirror.KeyArrivals, user)
				voided[i] = p.SIsMember(ctx, mirror.KeyVoided, user)
			}
			return nil
		})
		if err != nil && !errors.Is(err, redis.Nil) {
			return fmt.Errorf("redis: read places: %w", err)
		}
		for i, user := range users {
			if err := scores[i].Err(); err != nil && !errors.Is(err, redis.Nil) {
				return fmt.Errorf("redis: read places: %w", err)
			}
			found[user] = campaign.CopyOf{Position: int64(scores[i].Val()), Voided: voided[i].Val()}
		}
		users = users[:0]
		return nil
	}
	for _, e := range fold.Entries() {
		for _, user := range e.Users {
			if users = append(users, user); len(users) == placesAtOnce {
				if err := ask(); err != nil {
					return nil, err
				}
			}
		}
	}
	if len(users) > 0 {
		return found, ask()
	}
	return found, nil
}

func writeReport(c *cli.Context, f output.Format, r auditReport) error {
	switch f {
	case output.JSON:
		return writeReportJSON(c, r)
	case output.CSV:
		return writeFindings(c, f, r)
	case output.Table:
	}
	at := r.fold.At()
	name := fmt.Sprintf("%q", r.fold.Settings().Name)
	if r.fold.Settings().Rehearsal {
		name += ", a rehearsal"
	}
	_, err := fmt.Fprintf(c.App.Writer, "Campaign %d %s: %s, %d of %s granted, %d waiting.\nIts log has %s; the last has the hash\n  %s\nRedis is %s.\nThe edges are %s.\n",
		r.fold.Campaign(), name, count(r.fold.Last(), "place"), r.fold.Granted(), count(r.fold.Settings().Slots, "slot"), r.fold.Waiting(),
		count(at.Seq+1, "entry"), r.fold.Hash(), r.mirror, r.edges)
	if err != nil {
		return err
	}
	if len(r.findings) == 0 {
		_, err := fmt.Fprintln(c.App.Writer, "No differences.")
		return err
	}
	return writeFindings(c, f, r)
}

func writeFindings(c *cli.Context, f output.Format, r auditReport) error {
	list := output.List(c.App.Writer, f, append(columns("kind breaks user_id"), output.Column{Name: "detail", Long: true})...)
	for _, d := range r.findings {
		if err := list.Row(string(d.Kind), d.Breaks, d.UserID, d.Detail); err != nil {
			return err
		}
	}
	return list.Close()
}

// finding is a difference in JSON.
type finding struct {
	Kind   string `json:"kind"`
	Breaks bool   `json:"breaks"`
	UserID string `json:"user_id"`
	Detail string `json:"detail"`
}

func writeReportJSON(c *cli.Context, r auditReport) error {
	found, well := make([]finding, len(r.findings)), true
	for i, d := range r.findings {
		found[i] = finding{string(d.Kind), d.Breaks, d.UserID, d.Detail}
		well = well && !d.Breaks
	}
	encoder := json.NewEncoder(c.App.Writer)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(struct {
		Campaign  string    `json:"campaign"`
		Rehearsal bool      `json:"rehearsal,omitempty"`
		OK        bool      `json:"ok"`
		Entries   int64     `json:"entries"`
		Hash      string    `json:"hash"`
		Places    int64     `json:"places"`
		Granted   int64     `json:"granted"`
		Waiting   int64     `json:"waiting"`
		Redis     string    `json:"redis"`
		Edges     string    `json:"edges"`
		Findings  []finding `json:"findings"`
	}{
		campaignID(r.fold), r.fold.Settings().Rehearsal, well, r.fold.At().Seq + 1, r.fold.Hash().String(), r.fold.Last(), r.fold.Granted(), r.fold.Waiting(), r.mirror, r.edges, found,
	})
}
