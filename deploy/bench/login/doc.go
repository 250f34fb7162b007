// Package login holds the benchmark of the identity service: `make bench-login`
// runs the whole stack of one machine and measures logins, registrations and
// reads against what argon2id alone costs there.
package login
