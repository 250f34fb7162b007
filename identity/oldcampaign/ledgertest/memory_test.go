package ledgertest_test

import (
	"testing"

	"github.com/earlybird/earlybird/identity/oldcampaign"
	"github.com/earlybird/earlybird/identity/oldcampaign/ledgertest"
)

func TestMemory(t *testing.T) {
	ledgertest.Run(t, func(*testing.T) campaign.Ledger { return ledgertest.NewMemory() })
}
