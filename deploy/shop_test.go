package deploy_test

import (
	"bytes"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/earlybird/earlybird/kong"
)

// shop is the example as docker-compose.yml has it.
var shop = kong.Service{Name: "shop", URL: "http://shop:8080", Path: "/shop"}

// TestShopsKongYML: the example's kong.yml is the shipped one with the block that
// `earlybird kong route` prints.
func TestShopsKongYML(t *testing.T) {
	want, err := kong.Render(kong.Options{}, shop)
	if err != nil {
		t.Fatal(err)
	}
	if got := []byte(read(t, "deploy/examples/shop/kong.yml")); !bytes.Equal(got, want) {
		file := filepath.Join(t.ArtifactDir(), "kong.yml")
		if err := os.WriteFile(file, want, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Error("deploy/examples/shop/kong.yml is not kong/kong.yml with the shop at the end of services; `go test -artifacts` keeps the right one:", file)
	}
}

// TestComposeShop: Kong finds the shop where the example's kong.yml says, and only
// with that file.
func TestComposeShop(t *testing.T) {
	at, err := url.Parse(shop.URL)
	if err != nil {
		t.Fatal(err)
	}
	s, named := compose(t).Services[at.Hostname()]
	if !named || !slices.Equal(s.Profiles, []string{"shop"}) || !slices.Equal(s.Expose, []string{at.Port()}) ||
		!slices.Equal(s.Command, []string{"-listen", net.JoinHostPort("0.0.0.0", at.Port())}) || len(s.DependsOn) > 0 {
		t.Errorf("%s is no service of the profile shop that listens on port %s: %+v", at.Hostname(), at.Port(), s)
	}
	for given, want := range map[string]string{"": "kong/kong.yml", "./deploy/examples/shop/kong.yml": "deploy/examples/shop/kong.yml"} {
		volumes := composeWith(t, types.Mapping{"EARLYBIRD_KONG_YML": given}).Services["kong"].Volumes
		source, err := filepath.Abs(filepath.Join(root, want))
		if err != nil {
			t.Fatal(err)
		}
		if len(volumes) != 1 || volumes[0].Source != source || volumes[0].Target != kongConf(t)["declarative_config"] {
			t.Errorf("with EARLYBIRD_KONG_YML=%q Kong reads %+v, want %s", given, volumes, source)
		}
	}
}
