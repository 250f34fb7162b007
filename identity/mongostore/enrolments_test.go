package mongostore

import (
	"testing"

	"github.com/earlybird/earlybird/identity/account/enrolment"
	"github.com/earlybird/earlybird/identity/account/storetest"
)

func TestEnrolments(t *testing.T) {
	storetest.RunEnrolment(t, func(t *testing.T) enrolment.Store { return open(t, Config{}) })
}
