package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/identity/campaign"
)

func edgeFlag() cli.Flag {
	return &cli.StringSliceFlag{
		Name: "edge", EnvVars: []string{"EARLYBIRD_EDGES"},
		Usage: "`URL` of the metrics of an earlybird-auth, such as http://kong-1:9542, to be compared as well; more than once or with commas",
	}
}

// edgeFlags are the URLs of the edges' metrics.
func edgeFlags(c *cli.Context) ([]string, error) {
	var all []string
	for _, given := range c.StringSlice("edge") {
		u, err := url.Parse(given)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, usage("--edge: %q is not a URL such as http://kong-1:9542", shown(given))
		}
		if u.Path == "" || u.Path == "/" {
			u.Path = "/metrics"
		}
		all = append(all, u.String())
	}
	return all, nil
}

// edgeTimeout is how long one edge is asked.
const edgeTimeout = 3 * time.Second

// askEdges returns what edges say of themselves. One that cannot be asked is a
// finding that breaks nothing.
func askEdges(ctx context.Context, urls []string) (views []campaign.EdgeView, unasked []campaign.Finding) {
	for _, u := range urls {
		v, err := askEdge(ctx, u)
		if err != nil {
			unasked = append(unasked, campaign.Finding{
				Kind: campaign.FindingEdge, Detail: fmt.Sprintf("the edge %s cannot be compared: %s", shown(u), err),
			})
			continue
		}
		views = append(views, v)
	}
	return views, unasked
}

// askEdge reads the gauges of an edge, which have no labels: a line is a name and a
// value.
func askEdge(ctx context.Context, target string) (campaign.EdgeView, error) {
	ctx, cancel := context.WithTimeout(ctx, edgeTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return campaign.EdgeView{}, err
	}
	response, err := http.DefaultClient.Do(request)
	var wrapped *url.Error
	if errors.As(err, &wrapped) { // which has the whole URL
		err = wrapped.Err
	}
	if err != nil {
		return campaign.EdgeView{}, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return campaign.EdgeView{}, fmt.Errorf("it answers with status %d", response.StatusCode)
	}
	const prefix = "earlybird_auth_campaign_"
	found := map[string]float64{}
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if n, err := strconv.ParseFloat(value, 64); err == nil && strings.HasPrefix(name, prefix) {
			found[name[len(prefix):]] = n
		}
	}
	if err := lines.Err(); err != nil {
		return campaign.EdgeView{}, err
	}
	for _, name := range []string{"epoch", "seq", "limit", "fresh"} {
		if _, there := found[name]; !there {
			return campaign.EdgeView{}, fmt.Errorf("it has no %s%s: is it an earlybird-auth of this version, with a route that uses it?", prefix, name)
		}
	}
	return campaign.EdgeView{
		Name: shown(target), Place: campaign.Place{Epoch: int64(found["epoch"]), Seq: int64(found["seq"])},
		Limit: int64(found["limit"]), Fresh: found["fresh"] == 1,
	}, nil
}

// edgesCompared says how many of the edges that were named were compared.
func edgesCompared(compared, named int) string {
	switch {
	case named == 0:
		return "not compared: none was named with --edge"
	case compared < named:
		return fmt.Sprintf("compared: %d of %d", compared, named)
	default:
		return fmt.Sprintf("compared: %d", compared)
	}
}
