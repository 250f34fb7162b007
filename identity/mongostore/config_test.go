package mongostore

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// certificate returns a certificate for 127.0.0.1 that is its own authority, and
// itself in PEM.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestConfig(t *testing.T) {
	_, authority := certificate(t)
	for _, test := range []struct {
		name     string
		config   Config
		database string
		holds    func(o *options.ClientOptions) bool
	}{
		{"database from the path", Config{URL: "mongodb://h/bank?tls=true"}, "bank", func(o *options.ClientOptions) bool { return o.TLSConfig != nil }},
		{"default database", Config{URL: "mongodb://h1:1,h2:2"}, "earlybird", func(o *options.ClientOptions) bool { return len(o.Hosts) == 2 }},
		{"short waits", Config{URL: "mongodb://h"}, "earlybird", func(o *options.ClientOptions) bool {
			return *o.ServerSelectionTimeout == 3*time.Second && *o.ConnectTimeout == 3*time.Second && *o.Timeout == 5*time.Second
		}},
		{"waits of the URL", Config{URL: "mongodb://h/?serverSelectionTimeoutMS=1&connectTimeoutMS=2&timeoutMS=3"}, "earlybird", func(o *options.ClientOptions) bool {
			return *o.ServerSelectionTimeout == time.Millisecond && *o.ConnectTimeout == 2*time.Millisecond && *o.Timeout == 3*time.Millisecond
		}},
		{"majority whatever the URL says", Config{URL: "mongodb://h/?w=0&readConcernLevel=local"}, "earlybird", func(o *options.ClientOptions) bool {
			return o.WriteConcern.W == writeconcern.Majority().W && o.ReadConcern.Level == "majority"
		}},
		{"user and password file", Config{URL: "mongodb://h/bank", User: "u", PasswordFile: write(t, "p w \r\n")}, "bank", func(o *options.ClientOptions) bool {
			return o.Auth.Username == "u" && o.Auth.Password == "p w " && o.Auth.AuthSource == "admin"
		}},
		{"user and password file before the URL's", Config{URL: "mongodb://other:secret@h/?authSource=people&authMechanism=SCRAM-SHA-256", User: "u", PasswordFile: write(t, "pw")}, "earlybird", func(o *options.ClientOptions) bool {
			return o.Auth.Username == "u" && o.Auth.Password == "pw" && o.Auth.AuthSource == "people" && o.Auth.AuthMechanism == "SCRAM-SHA-256"
		}},
		{"CA file turns TLS on", Config{URL: "mongodb://h", CAFile: write(t, authority)}, "earlybird", func(o *options.ClientOptions) bool {
			return o.TLSConfig.RootCAs != nil && o.TLSConfig.MinVersion == tls.VersionTLS12 && !o.TLSConfig.InsecureSkipVerify
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			opts, database, err := test.config.options()
			if err != nil {
				t.Fatal(err)
			}
			if database != test.database || !test.holds(opts) {
				t.Errorf("database %q, options %+v", database, opts)
			}
		})
	}
}

func TestConfigFaults(t *testing.T) {
	for _, test := range []struct {
		name   string
		config Config
		want   []string
	}{
		{"no URL", Config{}, []string{"mongo URL"}},
		{"other scheme", Config{URL: "http://h"}, []string{"mongo URL", "scheme"}},
		{"password that is not escaped", Config{URL: "mongodb://user:hunter2%zz@h/db"}, []string{"mongo URL"}},
		{"two at signs", Config{URL: "mongodb://user:hunter2@evil@h/db"}, []string{"mongo URL"}},
		{"password and a bad option", Config{URL: "mongodb://user:hunter2@h/db?tls=perhaps"}, []string{"mongo URL", "tls"}},
		{"a property that is none", Config{URL: "mongodb://h/db?authMechanism=MONGODB-AWS&authMechanismProperties=hunter2"}, []string{"mongo URL"}},
		{"a token for another mechanism", Config{URL: "mongodb://u:p@h/db?authMechanism=PLAIN&authMechanismProperties=AWS_SESSION_TOKEN:hunter2"}, []string{"mongo URL"}},
		{"a password of a key that is not there", Config{URL: "mongodb://h/db?tls=true&tlsCertificateKeyFile=/nowhere&tlsCertificateKeyFilePassword=hunter2"}, []string{"mongo URL"}},
		{"a password that is not escaped in the query", Config{URL: "mongodb://h/db?tlsCertificateKeyFilePassword=hunter2%zz"}, []string{"mongo URL"}},
		{"user alone", Config{URL: "mongodb://h", User: "u"}, []string{"one without the other"}},
		{"password file alone", Config{URL: "mongodb://h", PasswordFile: "/x"}, []string{"one without the other"}},
		{"empty password", Config{URL: "mongodb://h", User: "u", PasswordFile: write(t, "\n")}, []string{"mongo password file", "is empty"}},
		{
			"every fault at once",
			Config{URL: "mongodb://", User: "u", PasswordFile: "/nowhere", CAFile: "/nowhere-else", Timeout: -1, AuditRetention: -1},
			[]string{"mongo URL", "mongo password file", "mongo CA file", "mongo timeout", "audit retention"},
		},
		{"CA file without a certificate", Config{URL: "mongodb://h", CAFile: write(t, "hunter2")}, []string{"mongo CA file", "no PEM certificate"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.config.Validate()
			if err == nil {
				t.Fatal("no fault found")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q shows the password", err)
			}
			if _, openErr := Open(t.Context(), test.config); openErr == nil || openErr.Error() != err.Error() {
				t.Errorf("open: %v, want %v", openErr, err)
			}
		})
	}
}
