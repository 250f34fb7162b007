package mongostore

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/auth"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/topology"

	"github.com/earlybird/earlybird/identity/unavailable"
)

// dependency is how outages of this store are named.
const dependency = "mongodb"

// outageCodes are the server's own words for: not now, or not here. From
// MongoDB's error_codes.yml, the categories NotPrimaryError, ShutdownError,
// NetworkError and ExceededTimeLimitError, and what replication cannot do yet.
var outageCodes = []int{
	6,     // HostUnreachable
	7,     // HostNotFound
	18,    // AuthenticationFailed: ours, not the client's
	50,    // MaxTimeMSExpired
	64,    // WriteConcernTimeout
	89,    // NetworkTimeout
	91,    // ShutdownInProgress
	100,   // UnsatisfiableWriteConcern
	112,   // WriteConflict
	133,   // FailedToSatisfyReadPreference
	134,   // ReadConcernMajorityNotAvailableYet
	189,   // PrimarySteppedDown
	202,   // NetworkInterfaceExceededTimeLimit
	262,   // ExceededTimeLimit
	384,   // ConnectionPoolExpired
	462,   // IngressRequestRateLimitExceeded
	9001,  // SocketException
	10107, // NotWritablePrimary
	11600, // InterruptedAtShutdown
	11602, // InterruptedDueToReplStateChange
	13435, // NotPrimaryNoSecondaryOk
	13436, // NotPrimaryOrSecondary
}

// classify turns a driver's error into an *unavailable.Error when the server could
// not be reached or did not do what it was asked, whatever the reason: its disk is
// full, a right is missing. It wraps any other, a duplicate key among them. A
// caller that went away is no outage.
func classify(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %s: %w", dependency, op, err)
	case unreachable(err) || unable(err) || failed(err):
		return unavailable.New(dependency, op, inBrief(err))
	default:
		return fmt.Errorf("%s: %s: %w", dependency, op, err)
	}
}

// unreachable: no answer came from any server.
func unreachable(err error) bool {
	var selection topology.ServerSelectionError
	var connection topology.ConnectionError
	var closed topology.PoolError
	var authentication *auth.Error
	return mongo.IsTimeout(err) || interrupted(err) ||
		errors.As(err, &selection) || errors.As(err, &connection) || errors.As(err, &closed) ||
		errors.As(err, &authentication) || errors.Is(err, mongo.ErrClientDisconnected)
}

// briefError is an error of the driver without its picture of the topology.
type briefError struct {
	brief string
	err   error
}

func (e *briefError) Error() string { return e.brief }

func (e *briefError) Unwrap() error { return e.err }

// inBrief says why no server could be chosen in one line: what the last server
// that was tried said.
func inBrief(err error) error {
	var selection topology.ServerSelectionError
	if !errors.As(err, &selection) {
		return err
	}
	for _, server := range selection.Desc.Servers {
		if server.LastError != nil {
			return &briefError{fmt.Sprintf("no server to be had: %s: %s", server.Addr, rootOf(server.LastError)), err}
		}
	}
	return &briefError{fmt.Sprintf("no server to be had: %s", selection.Wrapped), err}
}

// rootOf is the innermost error.
func rootOf(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// interrupted: the connection broke, or another operation found that it is
// broken. A second try uses a new one.
func interrupted(err error) bool {
	var cleared driver.RetryablePoolError
	return mongo.IsNetworkError(err) || errors.As(err, &cleared)
}

// failed: the server answered with an error that is not about the document.
func failed(err error) bool {
	var server mongo.ServerError
	return errors.As(err, &server) && !mongo.IsDuplicateKeyError(err)
}

// unable: the server answered that it cannot do this now, or not durably. What
// it will never do, such as an index of an unknown kind, is not among it.
func unable(err error) bool {
	var write mongo.WriteException
	var bulk mongo.BulkWriteException
	if errors.As(err, &write) && write.WriteConcernError != nil || errors.As(err, &bulk) && bulk.WriteConcernError != nil {
		return true
	}
	var server mongo.ServerError
	if !errors.As(err, &server) {
		return false
	}
	for _, code := range outageCodes {
		if server.HasErrorCode(code) {
			return true
		}
	}
	return server.HasErrorLabel("RetryableWriteError") || server.HasErrorLabel("TransientTransactionError")
}
