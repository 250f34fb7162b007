// Command stock is the floor that bench-edge measures against: a plugin on
// go-pdk's own server that makes the two calls earlybird-auth makes, and
// nothing else. It is no part of the product.
package main

import (
	"log"
	"net/http"
	"os"
	"time"

	"github.com/Kong/go-pdk"
	"github.com/Kong/go-pdk/server"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metricsEnv names the address for the Go runtime's metrics. go-pdk's server
// parses the flags, and knows none for this.
const metricsEnv = "STOCK_METRICS_LISTEN"

// Config is the plugin's configuration: none.
type Config struct{}

// New is what go-pdk makes instances with.
func New() any { return &Config{} }

// Access makes the two calls.
func (*Config) Access(kong *pdk.PDK) {
	if _, err := kong.Request.GetHeader("authorization"); err != nil {
		return
	}
	_ = kong.ServiceRequest.SetHeader("Earlybird", `user="BENCHMARKUSERBENCHMARKUSER", token="BENCHMARKTOKENBENCHMARKTOK", campaign="1", rank=1, discount=30`)
}

func main() {
	if address := os.Getenv(metricsEnv); address != "" {
		metrics := &http.Server{Addr: address, Handler: promhttp.Handler(), ReadHeaderTimeout: time.Second}
		go func() { log.Println(metrics.ListenAndServe()) }()
	}
	if err := server.StartServer(New, "1.0.0", 1450); err != nil {
		log.Fatal(err)
	}
}
