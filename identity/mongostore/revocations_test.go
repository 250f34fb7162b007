package mongostore

import (
	"slices"
	"testing"
	"time"

	"github.com/earlybird/earlybird/identity/revocation"
	"github.com/earlybird/earlybird/identity/revocation/revocationtest"
)

func TestRevocations(t *testing.T) {
	revocationtest.Run(t, func(t *testing.T) revocation.Store { return open(t, Config{}) })
}

func TestRevocationsOf(t *testing.T) {
	s := open(t, Config{})
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	of := func(user string, generation int64) revocation.Revocation {
		return revocation.Revocation{UserID: user, Generation: generation, At: at, Until: at.Add(time.Hour)}
	}
	for _, r := range []revocation.Revocation{of("U", 1), of("U", 2), of("UV", 1), of("T", 1), {TokenID: "U", At: at, Until: at}} {
		if err := s.AddRevocation(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	var got []revocation.Revocation
	for r, err := range s.RevocationsOf(t.Context(), "U") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r)
	}
	if want := []revocation.Revocation{of("U", 1), of("U", 2)}; !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
