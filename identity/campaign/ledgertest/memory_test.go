package ledgertest_test

import (
	"testing"

	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/ledgertest"
)

func TestMemory(t *testing.T) {
	ledgertest.Run(t, func(*testing.T) campaign.Ledger { return ledgertest.NewMemory() })
}
