// Command probe requests a URL every 10 ms until its standard input ends, on a new
// connection each time, as Kubernetes probes do. It prints how many microseconds
// each response took, one per line. It runs as a process of its own, so that the
// process that makes the load does not delay it. It is not part of the product.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"
)

func main() {
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	ticks := time.NewTicker(10 * time.Millisecond)
	for {
		start := time.Now()
		res, err := client.Get(os.Args[1]) //nolint:gosec // G704: whoever starts it names what it asks
		if err != nil {
			log.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			log.Fatal("not answered with 200")
		}
		fmt.Println(time.Since(start).Microseconds())
		select {
		case <-ended:
			return
		case <-ticks.C:
		}
	}
}
