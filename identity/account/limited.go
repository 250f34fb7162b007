package account

import "context"

// Limiter refuses attempts that come too often; *limit.Limiter implements it.
type Limiter interface {
	// Take counts an attempt at an account, or at none when it is empty, from an
	// address, or fails with a *limit.LimitedError.
	Take(ctx context.Context, account, address string) (Pass, error)
	// Remember notes an address as the owner's.
	Remember(ctx context.Context, account, address string)
}

// Pass is an attempt that a Limiter let through. One that failed is left as it
// is.
type Pass interface {
	// Succeeded reports the attempt as the owner's.
	Succeeded(ctx context.Context)
	// Undecided reports that it neither succeeded nor failed.
	Undecided(ctx context.Context)
}

// unlimited lets everything through.
type unlimited struct{}

func (unlimited) Take(context.Context, string, string) (Pass, error) { return unlimited{}, nil }

func (unlimited) Remember(context.Context, string, string) {}

func (unlimited) Succeeded(context.Context) {}

func (unlimited) Undecided(context.Context) {}

// limitedName is the key by which attempts at a name are limited. Invalid names are
// limited like valid ones.
func limitedName(canonical, typed string) string {
	if canonical != "" {
		return canonical
	}
	return "\x00" + typed
}
