package redisdb_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/redisdb"
)

// TLS with the password from a file, and what is refused.
// Checked by leaving RootCAs unset in trust (the right CA is then refused) and
// by setting InsecureSkipVerify (the wrong one is then taken).
func TestConnectWithTLS(t *testing.T) {
	dir := t.TempDir()
	certificate(t, dir, "server")
	certificate(t, dir, "other")
	_, port, _ := net.SplitHostPort(testserver.FreeAddresses(t, 1)[0])
	testserver.Redis(t, "--requirepass", "s3cret", "--tls-port", port, "--tls-auth-clients", "no",
		"--tls-cert-file", filepath.Join(dir, "server.crt"), "--tls-key-file", filepath.Join(dir, "server.key"),
		"--tls-ca-cert-file", filepath.Join(dir, "server.crt"))
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(dir, "server.crt")
	for _, c := range []struct {
		name   string
		config redisdb.Config
		ok     bool
	}{
		{"TLS and password", redisdb.Config{URL: "rediss://127.0.0.1:" + port, PasswordFile: password, CAFile: ca}, true},
		{"another authority", redisdb.Config{URL: "rediss://127.0.0.1:" + port, PasswordFile: password, CAFile: filepath.Join(dir, "other.crt")}, false},
		{"the system's authorities", redisdb.Config{URL: "rediss://127.0.0.1:" + port, PasswordFile: password}, false},
		{"another name", redisdb.Config{URL: "rediss://localhost:" + port, PasswordFile: password, CAFile: ca}, false},
		{"no password", redisdb.Config{URL: "rediss://127.0.0.1:" + port, CAFile: ca}, false},
		{"no TLS", redisdb.Config{URL: "redis://127.0.0.1:" + port, PasswordFile: password}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, err := redisdb.Connect(c.config)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = client.Close() }()
			if err := client.Ping(t.Context()).Err(); (err == nil) != c.ok {
				t.Fatalf("ping: %v, want success %t", err, c.ok)
			}
		})
	}
}

// certificate writes name.crt, its own authority, for 127.0.0.1, and name.key.
func certificate(t *testing.T, dir, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".crt": {Type: "CERTIFICATE", Bytes: cert},
		name + ".key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
