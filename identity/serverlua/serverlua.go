// Package serverlua is what scripts in Redis begin with that must know which
// server they run on, and what time it is there.
package serverlua

import _ "embed" // the functions

// Functions defines server_run_id and now_ms, local to the script.
//
//go:embed server.lua
var Functions string
