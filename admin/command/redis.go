package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/admin/output"
	"github.com/earlybird/earlybird/identity/campaign/mirror"
	"github.com/earlybird/earlybird/identity/mongostore"
	"github.com/earlybird/earlybird/identity/revocation"
)

func redisCommand() *cli.Command {
	return &cli.Command{
		Name:  "redis",
		Usage: "take over a Redis that holds another database's data",
		Subcommands: []*cli.Command{
			leaf("adopt", "empty a Redis that belongs to another database, so that this one fills it", "earlybird redis adopt", redisAdopt, changeFlags()...),
		},
	}
}

// adoptColumns are what `redis adopt` shows.
var adoptColumns = columns("origin was campaign_emptied revocations_emptied")

// beatIsNew is for how long after a beat another database's identity service is
// taken to be running.
const beatIsNew = 30 * time.Second

// redisAdopt takes Earlybird's keys out of a Redis that another database has
// filled, and leaves everything else in it.
func redisAdopt(c *cli.Context) error {
	f, err := format(c)
	if err != nil {
		return err
	}
	return withStores(c, func(s *stores) error {
		ours, err1 := s.mongo.Origin(c.Context)
		m, err2 := s.mirror.Summary(c.Context)
		r, err3 := revocation.Look(c.Context, s.redis)
		now, err4 := s.mongo.Now(c.Context)
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			return err
		}
		campaignForeign := m.Origin != "" && m.Origin != ours
		revocationsForeign := r.Origin != "" && r.Origin != ours
		if !campaignForeign && !revocationsForeign {
			say(c.App.ErrWriter, "nothing to adopt: this Redis holds no other database's data\n")
			return output.One(c.App.Writer, f, adoptColumns, ours, nil, false, false)
		}
		if beat := beatOfOthers(ours, m, r); now.Sub(beat) < beatIsNew {
			return withHint(fmt.Errorf("another database's identity service is at work on this Redis, %s ago: it would fill it again at once",
				max(0, now.Sub(beat)).Round(time.Second)), "stop it, or give each database a Redis of its own")
		}
		if err := confirm(c, "%s", whose(ours, m, r, campaignForeign, revocationsForeign)); err != nil {
			return err
		}
		theirs := m.Origin
		if !campaignForeign {
			theirs = r.Origin
		}
		err := recorded(c, s, mongostore.Action{Name: "redis adopt", Detail: "from origin " + theirs}, func(ctx context.Context, _ *mongostore.Action) error {
			if campaignForeign {
				if err := s.campaigns().Adopt(ctx, m.MirrorState); err != nil {
					return err
				}
			}
			if !revocationsForeign {
				return nil
			}
			cleared, err := revocation.Clear(ctx, s.redis, r)
			if err == nil && !cleared {
				err = errors.New("redis has changed since it was shown; run the command again")
			}
			return err
		})
		if err != nil {
			return err
		}
		return output.One(c.App.Writer, f, adoptColumns, ours, theirs, campaignForeign, revocationsForeign)
	})
}

// beatOfOthers is when another database's identity service was last at work. A
// Redis that two databases have filled can hold the campaign of one and the
// revocations of the other: a beat of our own service says nothing of theirs.
func beatOfOthers(ours string, m mirror.Summary, r revocation.State) time.Time {
	var latest time.Time
	if m.Origin != ours {
		latest = m.Beat
	}
	if r.Origin != ours && r.Beat.After(latest) {
		latest = r.Beat
	}
	return latest
}

// whose says what a Redis holds, and of whom.
func whose(ours string, m mirror.Summary, r revocation.State, campaignForeign, revocationsForeign bool) string {
	lines := []string{"This Redis holds another database's data:"}
	if campaignForeign {
		line := fmt.Sprintf("  origin %s, no campaign", m.Origin)
		if m.Campaign > 0 {
			line = fmt.Sprintf("  origin %s, campaign %d %q (%s), %s", m.Origin, m.Campaign, m.Settings.Name, m.Phase, count(m.Last, "place"))
		}
		lines = append(lines, line+", "+lastBeat(m.Beat))
	}
	if revocationsForeign {
		lines = append(lines, fmt.Sprintf("  origin %s, the revocations of its tokens, %s", r.Origin, lastBeat(r.Beat)))
	}
	return strings.Join(append(lines,
		fmt.Sprintf("This database has the origin %s. Is one of the two addresses wrong?", ours),
		"Going on empties Earlybird's keys in this Redis, and nothing else in it; identity fills them from this database.",
		"What the other database itself lacks cannot be restored from this Redis afterwards."), "\n")
}

func lastBeat(at time.Time) string {
	if at.IsZero() {
		return "never complete"
	}
	return "last complete " + at.UTC().Format(time.RFC3339)
}
