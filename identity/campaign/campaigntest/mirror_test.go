package campaigntest_test

import (
	"testing"

	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/campaign/campaigntest"
)

func TestMirror(t *testing.T) {
	campaigntest.RunMirror(t, func(*testing.T) campaign.Mirror { return campaigntest.NewMirror() })
}
