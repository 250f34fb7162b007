package keyring

import "time"

// Stats describes the keys, for metrics.
type Stats struct {
	Published    int           // keys that verify now
	SigningAge   time.Duration // for how long the signing key has been signing
	SuccessorSet bool          // a key is published that will sign after it
}

// Stats returns the state at this moment.
func (r *Ring) Stats() Stats {
	now := r.cfg.Now()
	keys := *r.plan.Load()
	s := Stats{Published: len(keys.public(now))}
	signing, err := keys.signer(now)
	if err != nil {
		return s
	}
	s.SigningAge = max(0, now.Sub(signing.SignsAt))
	for _, k := range keys {
		s.SuccessorSet = s.SuccessorSet || k.SignsAt.After(signing.SignsAt) && k.SignsAt.After(now)
	}
	return s
}
