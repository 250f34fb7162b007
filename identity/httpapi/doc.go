// Package httpapi is the HTTP API of the identity service: its routes, the form of
// every response, and the one mapping from domain errors to statuses.
//
// Bodies are JSON objects with exactly the described members. Errors are problem
// documents (RFC 9457) that say what is allowed. They never repeat a value that was
// sent, since it may be a password. Only the access token identifies the caller; no
// header set by a gateway is trusted for that.
//
// A request passes, from the outside in: request id, access log and recovery
// ([Config.Log]), the limits on its head, and routing. Each operation then
// checks the token, reads the body, and answers, or returns an error.
//
// openapi.json is written by hand. The tests hold every answer, body and example
// against it.
package httpapi
