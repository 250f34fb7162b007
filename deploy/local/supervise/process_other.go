//go:build !unix

package supervise

import "syscall"

func attributes() *syscall.SysProcAttr { return nil }
