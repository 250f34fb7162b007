package main

import (
	"context"
	"log/slog"

	"github.com/earlybird/earlybird/identity/campaign/mirror"
	"github.com/earlybird/earlybird/plugin/edge"
)

// people knows where the users of remembered tokens stand in the campaign of one
// Redis.
type people struct {
	View      *mirror.View
	Standings mirror.Standings
	Log       *slog.Logger
	Metrics   *metrics
}

// standing is what can be said of the user's grant now. The first request of a
// user reads it from Redis; from then on the log's tail keeps it right.
func (p *people) standing(ctx context.Context, who *mirror.User, id string) edge.Standing {
	grant, known := p.View.Grant(who)
	if known == mirror.Unread {
		s, err := p.Standings.Standing(ctx, id)
		if err != nil {
			p.Log.WarnContext(ctx, "position could not be read", slog.Any("err", err))
			return p.unknown()
		}
		grant, known = p.View.Learn(who, s)
	}
	switch known {
	case mirror.Granted:
		return edge.Standing{Grant: grant}
	case mirror.NotGranted:
		return edge.Standing{}
	case mirror.Unknown, mirror.Unread:
	}
	return p.unknown()
}

func (p *people) unknown() edge.Standing {
	p.Metrics.unknown.Inc()
	return edge.Standing{Unknown: true}
}
