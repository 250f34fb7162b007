package mongostore

import (
	"testing"

	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/ledgertest"
)

func TestLedger(t *testing.T) {
	ledgertest.Run(t, func(t *testing.T) campaign.Ledger { return open(t, Config{}) })
}
