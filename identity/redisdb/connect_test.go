package redisdb_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/redisdb"
)

func TestConnectRefuses(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		cfg  redisdb.Config
		want string
	}{
		{"no URL", redisdb.Config{}, "the URL is empty"},
		{"another scheme", redisdb.Config{URL: "http://h"}, `begins with "http://"`},
		{"no URL at all", redisdb.Config{URL: "redis://%zz:secret@h"}, "cannot be parsed"},
		{"database", redisdb.Config{URL: "redis://h/x"}, "database"},
		{"no scheme", redisdb.Config{URL: "localhost:6379"}, "no scheme"},
		{"several hosts", redisdb.Config{URL: "redis://h1,h2:1"}, "several hosts"},
		{"sentinel without a master", redisdb.Config{URL: "redis+sentinel://h1,h2/0"}, "?master=name"},
		{"master without sentinel", redisdb.Config{URL: "redis+cluster://h1,h2?master=m"}, "only redis+sentinel"},
		{"database of a cluster", redisdb.Config{URL: "redis+cluster://h1/3"}, "only database 0"},
		{"no such password file", redisdb.Config{URL: "redis://h", PasswordFile: "/nowhere"}, "password file"},
		{"empty password file", redisdb.Config{URL: "redis://h", PasswordFile: empty}, "is empty"},
		{"CA without TLS", redisdb.Config{URL: "redis://h", CAFile: empty}, "rediss://"},
		{"CA without certificate", redisdb.Config{URL: "rediss://h", CAFile: empty}, "no PEM certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := redisdb.Connect(c.cfg)
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
	server := testserver.Redis(t, "--requirepass", "s3cret")
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := redisdb.Connect(redisdb.Config{URL: server.URL(), PasswordFile: file})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
	if err := dial(t, server.URL(), "").Ping(t.Context()).Err(); !redis.HasErrorPrefix(err, "NOAUTH") {
		t.Errorf("without the password: %v, want NOAUTH", err)
	}
}

func TestConnectForms(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("from file\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("single", func(t *testing.T) {
		opt := dial(t, "rediss://me:in-url@h/2", file).(*redis.Client).Options()
		if opt.Addr != "h:6379" || opt.DB != 2 || opt.Username != "me" || opt.Password != "from file" || opt.TLSConfig.ServerName != "h" {
			t.Errorf("options %+v", opt)
		}
		if !opt.ContextTimeoutEnabled || !opt.DisableIdentity {
			t.Error("commands do not obey their deadline, or CLIENT SETINFO is sent")
		}
		if opt.ReadBufferSize != 8<<10 || opt.WriteBufferSize != 8<<10 || opt.PipelinePoolSize != 4 {
			t.Errorf("buffers of %d and %d bytes, %d connections for pipelines", opt.ReadBufferSize, opt.WriteBufferSize, opt.PipelinePoolSize)
		}
	})
	t.Run("sentinel", func(t *testing.T) {
		opt := dial(t, "rediss+sentinel://me:p%40ss@h1,h2:7/2?master=m", "").(*redis.Client).Options()
		if opt.Addr != "FailoverClient" || opt.DB != 2 || opt.Username != "me" || opt.Password != "p@ss" || opt.TLSConfig.ServerName != "" {
			t.Errorf("options %+v", opt)
		}
		if !opt.ContextTimeoutEnabled || !opt.DisableIdentity {
			t.Error("commands do not obey their deadline, or CLIENT SETINFO is sent")
		}
		if opt.ReadBufferSize != 8<<10 || opt.WriteBufferSize != 8<<10 || opt.PipelinePoolSize != 4 {
			t.Errorf("buffers of %d and %d bytes, %d connections for pipelines", opt.ReadBufferSize, opt.WriteBufferSize, opt.PipelinePoolSize)
		}
	})
	t.Run("cluster", func(t *testing.T) {
		opt := dial(t, "redis+cluster://h1,[::1]:7,h3/0", file).(*redis.ClusterClient).Options()
		if !slices.Equal(opt.Addrs, []string{"h1:6379", "[::1]:7", "h3:6379"}) || opt.Password != "from file" || opt.TLSConfig != nil {
			t.Errorf("options %+v", opt)
		}
		if !opt.ContextTimeoutEnabled || !opt.DisableIdentity {
			t.Error("commands do not obey their deadline, or CLIENT SETINFO is sent")
		}
		if opt.ReadBufferSize != 8<<10 || opt.WriteBufferSize != 8<<10 || opt.PipelinePoolSize != 4 {
			t.Errorf("buffers of %d and %d bytes, %d connections for pipelines", opt.ReadBufferSize, opt.WriteBufferSize, opt.PipelinePoolSize)
		}
	})
}

func dial(t *testing.T, url, passwordFile string) redis.UniversalClient {
	t.Helper()
	client, err := redisdb.Connect(redisdb.Config{URL: url, PasswordFile: passwordFile})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}
