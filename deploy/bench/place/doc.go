// Package place holds the benchmark of placing: `make bench-place` measures
// first logins on the embedded MongoDB and a real redis-server, beside a bare
// insert of one document.
package place
