package main

import (
	"context"
	"log/slog"

	"github.com/earlybird/earlybird/identity/campaign/mirror"
	"github.com/earlybird/earlybird/plugin/edge"
)

// people knows the grants of the users whose tokens are cached, in the campaign of
// one Redis.
type people struct {
	View      *mirror.View
	Standings mirror.Standings
	Log       *slog.Logger
	Metrics   *metrics
}

// standing returns the user's grant as far as it is known now. The first request
// of a user reads it from Redis; after that the tail of the log keeps it current.
func (p *people) standing(ctx context.Context, who *mirror.User, id string) edge.Standing {
	grant, known := p.View.Grant(who)
	if known == mirror.Unread {
		s, err := p.Standings.Standing(ctx, id)
		if err != nil {
			p.Log.WarnContext(ctx, "the user's grant could not be read from redis", slog.Any("err", err))
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
