package mongostore

import (
	"crypto/tls"
	"testing"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/unavailable"
)

// The embedded server speaks no TLS, so a proxy does in its place. Checked by
// leaving RootCAs unset (the right authority is then refused) and by setting
// InsecureSkipVerify (the wrong one is then taken).
func TestTLS(t *testing.T) {
	server, right := certificate(t)
	_, wrong := certificate(t)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{server}})
	if err != nil {
		t.Fatal(err)
	}
	_, through := testserver.ProxyOn(t, listener, testserver.Mongo(t), nil)
	patient := with(t, through, "directConnection=true")
	plain := with(t, patient, "serverSelectionTimeoutMS=500")

	for _, c := range []struct {
		name   string
		config Config
	}{
		{"another authority", Config{URL: plain, CAFile: write(t, wrong)}},
		{"the system's authorities", Config{URL: with(t, plain, "tls=true")}},
		{"no TLS", Config{URL: plain}},
	} {
		if _, err := Open(t.Context(), c.config); !unavailable.Is(err) {
			t.Errorf("%s: %v, want it refused", c.name, err)
		}
	}
	createAlice(t, open(t, Config{URL: patient, CAFile: write(t, right)}))
}
