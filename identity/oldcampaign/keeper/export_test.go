package keeper

import "context"

// Tidy and Trim are duties that tests call by themselves.
func (k *Keeper) Tidy(ctx context.Context) error { return k.tidy(ctx) }
func (k *Keeper) Trim(ctx context.Context) error { return k.trim(ctx) }
