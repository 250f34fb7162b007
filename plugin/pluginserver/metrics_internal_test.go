package pluginserver

import (
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics whose address is taken are served once it is free. Checked by giving
// up after the first try.
func TestMetricsAddressIsTriedAgain(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := taken.Addr().String()
	failed := make(chan struct{}, 1)
	log := slog.New(slog.NewTextHandler(toldTo(failed), nil))
	go serveMetrics(t.Context(), metricsConfig{Address: address, Registry: prometheus.NewRegistry(), Log: log, Retry: 10 * time.Millisecond})
	<-failed
	_ = taken.Close()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		response, err := http.Get("http://" + address + "/metrics") //nolint:noctx // a test
		if err == nil {
			_ = response.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// toldTo says on a channel that something was logged.
type toldTo chan struct{}

func (c toldTo) Write(p []byte) (int, error) {
	select {
	case c <- struct{}{}:
	default:
	}
	return len(p), nil
}
