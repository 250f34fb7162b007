package mongostore

import (
	"testing"

	"github.com/earlybird/earlybird/identity/keyring"
	"github.com/earlybird/earlybird/identity/keyring/keyringtest"
)

func TestKeys(t *testing.T) {
	keyringtest.Run(t, func(t *testing.T) keyring.Store { return open(t, Config{}) })
}
