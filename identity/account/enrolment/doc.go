// Package enrolment lets each customer of a bank open one account: an operator
// issues one-time codes, and a registration takes one.
//
// # Codes
//
// The latest [Issue] of a customer holds the live code. Issues are numbered, and
// the insert of the next number decides who of two operators issued or revoked; a
// code with an issue after it is dead. Codes are kept as hashes.
//
// # Accounts
//
// The insert of a [Claim] decides which account a customer holds: of any number of
// registrations at once, with one code or with several, one succeeds. The claim
// holds the whole account until the account is created. So a registration that was
// cut off is settled by whoever reads the claim next: the account is created as it
// was asked for, or its name has gone to somebody else and the claim is removed.
// Therefore, after a crash at any step, either the code still works or the account
// exists.
package enrolment
