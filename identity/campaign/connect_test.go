package campaign_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/campaign"
)

func TestConnectRefuses(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		cfg  campaign.ConnectConfig
		want string
	}{
		{"no URL", campaign.ConnectConfig{}, "the URL is empty"},
		{"another scheme", campaign.ConnectConfig{URL: "http://h"}, `begins with "http://"`},
		{"no URL at all", campaign.ConnectConfig{URL: "redis://%zz:secret@h"}, "cannot be parsed"},
		{"database", campaign.ConnectConfig{URL: "redis://h/x"}, "database"},
		{"no such password file", campaign.ConnectConfig{URL: "redis://h", PasswordFile: "/nowhere"}, "password file"},
		{"empty password file", campaign.ConnectConfig{URL: "redis://h", PasswordFile: empty}, "is empty"},
		{"CA without TLS", campaign.ConnectConfig{URL: "redis://h", CAFile: empty}, "rediss://"},
		{"CA without certificate", campaign.ConnectConfig{URL: "rediss://h", CAFile: empty}, "no PEM certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := campaign.Connect(c.cfg)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}

func TestConnectWithPasswordFile(t *testing.T) {
	server := testserver.Redis(t, testserver.WithRedisArgs("--requirepass", "s3cret"))
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := campaign.Connect(campaign.ConnectConfig{URL: server.URL(), PasswordFile: file})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
	if err := connect(t, server.URL()).Ping(t.Context()).Err(); !redis.HasErrorPrefix(err, "NOAUTH") {
		t.Errorf("without the password: %v, want NOAUTH", err)
	}
}
