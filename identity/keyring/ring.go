package keyring

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/earlybird/earlybird/identity/token"
)

// Config configures a Ring. Store, Secret, Now and Log are required; a zero
// duration means its default.
type Config struct {
	Store  Store
	Secret [SecretSize]byte
	Now    func() time.Time
	Log    *slog.Logger

	// OldSecret, if it is not zero, opens what Secret does not: while the secret
	// is being changed (see Reseal). New keys are sealed with Secret.
	OldSecret [SecretSize]byte
	// MaxAge is the age at which Run rotates the newest key; zero: never.
	MaxAge time.Duration
	// Lead is how long a new key is published before it signs; 10 min, twice as
	// long as an edge waits at most before it fetches the key set again.
	Lead time.Duration
	// Refresh is the time between two looks at the store; 30 s. A Lead that is
	// not longer would let one replica sign with a key that another does not
	// publish.
	Refresh time.Duration
}

// Ring holds the opened keys. It is a token.KeySource, and safe for concurrent
// use.
type Ring struct {
	cfg    Config
	sealer sealer
	plan   atomic.Pointer[plan]
}

// Open reads the keys from the store and creates the first one if there is none.
// The error wraps ErrSecret when the stored keys were sealed with another
// secret, and *unavailable.Error when the store does not answer.
func Open(ctx context.Context, cfg Config) (*Ring, error) {
	r, err := newRing(cfg)
	if err != nil {
		return nil, fmt.Errorf("keyring: %w", err)
	}
	records, err := r.records(ctx)
	if err != nil {
		return nil, fmt.Errorf("open keyring: %w", err)
	}
	if len(records) == 0 {
		if records, err = r.createFirst(ctx); err != nil {
			return nil, fmt.Errorf("open keyring: %w", err)
		}
	}
	if err := r.load(records); err != nil {
		return nil, fmt.Errorf("open keyring: %w", err)
	}
	return r, nil
}

func newRing(cfg Config) (*Ring, error) {
	if cfg.Secret == [SecretSize]byte{} {
		return nil, errors.New("a secret of zeros")
	}
	cfg.Lead = cmp.Or(cfg.Lead, 10*time.Minute)
	cfg.Refresh = cmp.Or(cfg.Refresh, 30*time.Second)
	if cfg.MaxAge < 0 || cfg.MaxAge > 0 && cfg.MaxAge <= cfg.Lead {
		return nil, fmt.Errorf("maximum age %v must be longer than lead %v", cfg.MaxAge, cfg.Lead)
	}
	s, err := newSealer(cfg.Secret, cfg.OldSecret)
	if err != nil {
		return nil, err
	}
	return &Ring{cfg: cfg, sealer: s}, nil
}

// createFirst inserts key number 1 and returns what the store then holds: this
// key, or the one of a replica that was faster.
func (r *Ring) createFirst(ctx context.Context) ([]Record, error) {
	now := r.cfg.Now()
	first, err := r.sealer.newRecord("1", now, now)
	if err != nil {
		return nil, err
	}
	if err := r.cfg.Store.AddKey(ctx, first); err != nil && !errors.Is(err, ErrKeyExists) {
		return nil, fmt.Errorf("store the first signing key: %w", err)
	}
	records, err := r.records(ctx)
	if err == nil && len(records) == 0 {
		err = errors.New("the first signing key was stored but is not there")
	}
	return records, err
}

func (r *Ring) records(ctx context.Context) ([]Record, error) {
	records, err := r.cfg.Store.Keys(ctx)
	if err != nil {
		return nil, fmt.Errorf("read signing keys: %w", err)
	}
	return records, nil
}

func (r *Ring) load(records []Record) error {
	p, err := newPlan(r.sealer, records, r.cfg.Now())
	if err != nil {
		return err
	}
	r.plan.Store(&p)
	return nil
}

// Refresh reads the store again. On an error the ring keeps what it has.
func (r *Ring) Refresh(ctx context.Context) error {
	records, err := r.records(ctx)
	if err != nil {
		return fmt.Errorf("refresh keyring: %w", err)
	}
	if len(records) == 0 {
		return errors.New("refresh keyring: the store has lost the signing keys")
	}
	if err := r.load(records); err != nil {
		return fmt.Errorf("refresh keyring: %w", err)
	}
	return nil
}

// Run keeps the ring fresh until ctx ends; it returns nil then. While the store
// is down the ring keeps what it has. When the newest key is older than MaxAge,
// Run rotates: of several replicas, which all do so, one succeeds.
func (r *Ring) Run(ctx context.Context) error {
	ticker := time.NewTicker(r.cfg.Refresh)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := r.Refresh(ctx); err != nil && ctx.Err() == nil {
			r.cfg.Log.ErrorContext(ctx, "refreshing the signing keys failed", "err", err)
			continue
		}
		if err := r.rotateByAge(ctx); err != nil && ctx.Err() == nil {
			r.cfg.Log.ErrorContext(ctx, "rotating the signing key by age failed", "err", err)
		}
	}
}

// Rotate stores the next key, which will sign after Lead, or at once when every
// other is withdrawn. The error wraps ErrKeyExists when somebody else rotated at the same
// time: then their key is the next one.
func (r *Ring) Rotate(ctx context.Context) (Record, error) {
	records, err := r.records(ctx)
	if err != nil {
		return Record{}, fmt.Errorf("rotate signing key: %w", err)
	}
	return r.rotate(ctx, records)
}

// rotateByAge rotates if the newest key that was not withdrawn is too old. It
// decides by the very records that rotate numbers the next key from: who comes
// late finds that number taken.
func (r *Ring) rotateByAge(ctx context.Context) error {
	if r.cfg.MaxAge == 0 || !r.plan.Load().outdated(r.cfg.Now(), r.cfg.MaxAge) {
		return nil
	}
	records, err := r.records(ctx)
	if err != nil {
		return err
	}
	all, err := schedule(records, r.cfg.Now())
	if err != nil || !all.outdated(r.cfg.Now(), r.cfg.MaxAge) {
		return err
	}
	next, err := r.rotate(ctx, records)
	if errors.Is(err, ErrKeyExists) {
		return nil // another replica's
	}
	if err == nil {
		r.cfg.Log.InfoContext(ctx, "signing key rotated by age", "key_id", next.KeyID(), "signs_at", next.SignsAt)
	}
	return err
}

func (r *Ring) rotate(ctx context.Context, records []Record) (Record, error) {
	if err := r.load(records); err != nil {
		return Record{}, fmt.Errorf("rotate signing key: %w", err)
	}
	last := 0
	for _, record := range records {
		n, _ := record.number() // load refuses what is no number
		last = max(last, n)
	}
	now := r.cfg.Now()
	next, err := r.sealer.newRecord(strconv.Itoa(last+1), now, now.Add(r.cfg.Lead))
	if err != nil {
		return Record{}, fmt.Errorf("rotate signing key: %w", err)
	}
	if err := r.cfg.Store.AddKey(ctx, next); err != nil {
		return Record{}, fmt.Errorf("rotate signing key: store key %s: %w", next.ID, err)
	}
	if err := r.Refresh(ctx); err != nil {
		return next, fmt.Errorf("rotate signing key: key %s is stored: %w", next.ID, err)
	}
	return next, nil
}

// Signer returns the key that signs now and its kid, for token.IssuerConfig.Key.
func (r *Ring) Signer() (kid string, key ed25519.PrivateKey, err error) {
	k, err := r.plan.Load().signer(r.cfg.Now())
	if err != nil {
		return "", nil, err
	}
	return k.kid, k.private, nil
}

// PublicKey implements token.KeySource with the keys that are published.
func (r *Ring) PublicKey(kid string) (ed25519.PublicKey, error) {
	now := r.cfg.Now()
	for _, k := range *r.plan.Load() {
		if k.kid == kid && !k.isRetired(now) {
			return k.Public, nil
		}
	}
	return nil, token.ErrUnknownKey
}

// JWKS returns the public keys to publish: those that sign, will sign, or have
// signed tokens that may still be valid.
func (r *Ring) JWKS() token.KeySet {
	return token.NewKeySet(r.plan.Load().public(r.cfg.Now()))
}
