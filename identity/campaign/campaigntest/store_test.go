package campaigntest_test

import (
	"testing"

	"github.com/earlybird/earlybird/identity/campaign/campaigntest"
)

func TestStore(t *testing.T) {
	campaigntest.RunStore(t, func(*testing.T) campaigntest.StoreSubject {
		c := campaigntest.NewCluster()
		return campaigntest.StoreSubject{Store: c.Client("a"), Damage: c.Damage}
	})
}
