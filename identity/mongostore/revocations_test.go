package mongostore

import (
	"testing"

	"github.com/earlybird/earlybird/identity/revocation"
	"github.com/earlybird/earlybird/identity/revocation/revocationtest"
)

func TestRevocations(t *testing.T) {
	revocationtest.Run(t, func(t *testing.T) revocation.Store { return open(t, Config{}) })
}
