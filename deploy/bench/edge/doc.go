// Package edge holds the benchmark of the two plugins: `make bench-edge`
// drives their programs over the unix socket as one of Kong's workers does,
// beside a plugin on go-pdk's own server that makes the same two calls.
package edge
