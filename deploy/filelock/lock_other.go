//go:build !unix

package filelock

import "os"

// lock does nothing: the standard library has no file locks here.
func lock(*os.File, bool) error { return nil }
