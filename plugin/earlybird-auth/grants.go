package main

import (
	"context"
	"log/slog"

	"github.com/earlybird/earlybird/identity/campaign/mirror"
	"github.com/earlybird/earlybird/plugin/edge"
)

// grants knows the grants of the users whose tokens are cached, in the campaign of
// one Redis.
type grants struct {
	View      *mirror.View
	Standings mirror.Standings
	Log       *slog.Logger
	Metrics   *metrics
}

// of returns the user's grant as far as it is known now. The first request
// of a user reads it from Redis; after that the tail of the log keeps it current.
func (g *grants) of(ctx context.Context, who *mirror.User, id string) edge.KnownGrant {
	grant, known := g.View.Grant(who)
	if known == mirror.Unread {
		s, err := g.Standings.Standing(ctx, id)
		if err != nil {
			g.Log.WarnContext(ctx, "the user's grant could not be read from redis", slog.Any("err", err))
			return g.unknown()
		}
		grant, known = g.View.Learn(who, s)
	}
	switch known {
	case mirror.Granted:
		return edge.KnownGrant{Grant: grant}
	case mirror.NotGranted:
		return edge.KnownGrant{}
	case mirror.Unknown, mirror.Unread:
	}
	return g.unknown()
}

func (g *grants) unknown() edge.KnownGrant {
	g.Metrics.unknown.Inc()
	return edge.KnownGrant{Unknown: true}
}
