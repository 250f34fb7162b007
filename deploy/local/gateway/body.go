package gateway

import "io"

// closeWith is a body that also does something else when it is closed.
type closeWith struct {
	io.Reader
	and func()
}

func (c *closeWith) Close() error {
	defer c.and()
	if closer, ok := c.Reader.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}
