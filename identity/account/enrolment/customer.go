package enrolment

import (
	"errors"
	"regexp"
)

// MaxCustomer is the longest customer reference, in characters.
const MaxCustomer = 64

// customerForm keeps references safe where they are written: in a spreadsheet none
// is a formula, on a command line none is a flag.
var customerForm = regexp.MustCompile(`^[A-Za-z0-9]+(?:[._/:#@+-][A-Za-z0-9]+)*$`)

// CheckCustomer says what is wrong with a customer reference, the key by which the
// bank knows a customer. Two references are the same when their bytes are: case
// matters. The error does not hold the reference.
func CheckCustomer(reference string) error {
	switch {
	case len(reference) > MaxCustomer:
		return errors.New("is longer than 64 characters")
	case !customerForm.MatchString(reference):
		return errors.New("must be ASCII letters and digits, with single . _ - / : # @ + between them, such as C-10042")
	}
	return nil
}
