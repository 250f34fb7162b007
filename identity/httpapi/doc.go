// Package httpapi is the HTTP face of the identity service: its routes, the
// shape of every answer, and the one place where an error of the domain
// becomes a status.
//
// Bodies are JSON objects with exactly the described members. Errors are
// problem documents (RFC 9457) that say what is allowed and never repeat a
// value that was sent, since it may be a password. Whoever calls is identified
// by the access token alone; no header of a gateway is trusted for that.
//
// A request passes, from the outside in: request id, access log and recovery
// ([Config.Log]), the limits on its head, and routing. Each operation then
// checks the token, reads the body, and answers, or returns an error.
//
// openapi.json is written by hand. The tests hold every answer, body and example
// against it.
package httpapi
