package command

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/admin/output"
	"github.com/earlybird/earlybird/identity/campaign"
	"github.com/earlybird/earlybird/identity/unavailable"
)

// eventJSON is a line of `campaign events`. Which members it has depends on kind.
type eventJSON struct {
	ID       string    `json:"id"`
	Campaign string    `json:"campaign"`
	Epoch    int64     `json:"epoch"`
	Seq      int64     `json:"seq"`
	At       time.Time `json:"at"`
	Kind     string    `json:"kind"`
	// Rehearsal is in every line of a rehearsal, and in no other.
	Rehearsal bool   `json:"rehearsal,omitempty"`
	By        string `json:"by,omitempty"`

	UserID   string `json:"user_id,omitempty"`
	Position int64  `json:"position,omitempty"`
	Rank     int64  `json:"rank,omitempty"`
	Discount *int64 `json:"discount,omitempty"`

	*settingsJSON
	Lost *lostJSON `json:"lost,omitempty"`
}

type settingsJSON struct {
	Name        string     `json:"name"`
	Description string     `json:"description"`
	Slots       int64      `json:"slots"`
	Waitlist    int64      `json:"waitlist"`
	StartsAt    time.Time  `json:"starts_at"`
	EndsAt      *time.Time `json:"ends_at"`
}

type lostJSON struct {
	Epoch int64 `json:"epoch"`
	Seq   int64 `json:"seq"`
}

func eventLine(ev campaign.Event) eventJSON {
	e := ev.Entry
	line := eventJSON{
		ID: ev.ID.String(), Campaign: strconv.FormatInt(e.Campaign, 10), Epoch: ev.ID.Epoch, Seq: ev.ID.Seq,
		At: e.At.UTC(), Kind: string(ev.Kind), Rehearsal: ev.Rehearsal, UserID: ev.UserID,
	}
	switch ev.Kind {
	case campaign.EventGrant:
		line.Rank, line.Discount = ev.Position, &ev.Discount
	case campaign.EventGrantEnd:
		line.Rank = ev.Position
	case campaign.EventArrival:
		line.Position = ev.Position
	default:
		line.By, line.Position = e.By, ev.Position
		if s := e.Settings; s != nil {
			line.Discount = &s.Discount
			line.settingsJSON = &settingsJSON{Name: s.Name, Description: s.Description, Slots: s.Slots, Waitlist: s.Waitlist, StartsAt: s.StartsAt.UTC()}
			if !s.EndsAt.IsZero() {
				ends := s.EndsAt.UTC()
				line.EndsAt = &ends
			}
		}
		if e.Lost != nil {
			line.Lost = &lostJSON{e.Lost.Epoch, e.Lost.Seq}
		}
	}
	return line
}

// campaignEvents writes the events of the logs, and with --follow those that come,
// through outages, until Ctrl-C.
func campaignEvents(c *cli.Context) error {
	if c.String("output") != string(output.JSON) {
		return usage("--output: %q is not a format of events; they are written as json, one object per line", c.String("output"))
	}
	from, seq, err := eventsFrom(c)
	if err != nil {
		return err
	}
	err = withStores(c, func(s *stores) error {
		if from == nil {
			if from, err = s.eventOf(c.Context, seq, c.Bool("follow")); err != nil {
				return err
			}
		}
		events := s.campaigns().Events(*from)
		if !c.Bool("follow") {
			return writeEvents(c.Context, c.App.Writer, events)
		}
		return followEvents(c, events)
	})
	if c.Bool("follow") && c.Err() != nil {
		return nil
	}
	return err
}

// eventsFrom reads --from: the id of an event, or the number of an entry of the
// campaign that is meant when none is named.
func eventsFrom(c *cli.Context) (id *campaign.EventID, seq int64, err error) {
	if !c.IsSet("from") {
		return nil, 0, nil
	}
	if seq, err := strconv.ParseInt(c.String("from"), 10, 64); err == nil && seq >= 0 {
		return nil, seq, nil
	}
	found, err := campaign.ParseEventID(c.String("from"))
	if err != nil {
		return nil, 0, withHint(usage("--from: %q is neither the number of an entry, such as 17, nor the id of an event, such as 1048576:17:0", c.String("from")),
			"give the id of the last line that was dealt with; it comes once more, and then what follows it")
	}
	return &found, 0, nil
}

// eventOf is the first event of an entry of the campaign that is meant when none is
// named. Who follows may do so before there is a campaign.
func (s *stores) eventOf(ctx context.Context, seq int64, follow bool) (*campaign.EventID, error) {
	fold, err := s.read(ctx, 0)
	switch {
	case fold != nil: // damage is found again where the events reach it
		return &campaign.EventID{Place: campaign.Place{Epoch: fold.Entries()[0].Epoch, Seq: seq}}, nil
	case follow && errors.Is(err, campaign.ErrNoCampaign):
		return &campaign.EventID{}, nil
	default:
		return nil, err
	}
}

// writeEvents writes the events up to the end that the log has now.
func writeEvents(ctx context.Context, w io.Writer, events *campaign.EventReader) (err error) {
	buffered := bufio.NewWriter(w)
	defer func() { // what was read before an error is told too
		if flushErr := buffered.Flush(); flushErr != nil {
			err = flushErr
		}
	}()
	encoder := json.NewEncoder(buffered)
	encoder.SetEscapeHTML(false)
	for ev, err := range events.ReadOn(ctx) {
		if err != nil {
			return err
		}
		if err := encoder.Encode(eventLine(ev)); err != nil {
			return fmt.Errorf("write event %s: %w", ev.ID, err)
		}
	}
	return nil
}

// eventsEvery is the time between looks at the log.
const eventsEvery = time.Second

// followEvents writes what comes. While MongoDB does not answer it waits; whatever
// else goes wrong ends it.
func followEvents(c *cli.Context, events *campaign.EventReader) error {
	ticks := time.NewTicker(eventsEvery)
	defer ticks.Stop()
	waiting := false
	for !readerGone(c.App.Writer) {
		err := writeEvents(c.Context, c.App.Writer, events)
		switch {
		case c.Err() != nil:
			return nil
		case err != nil && !unavailable.Is(err):
			return err
		case err != nil && !waiting:
			say(c.App.ErrWriter, "waiting: %s\n", brief(err))
		case err == nil && waiting:
			say(c.App.ErrWriter, "the log can be read again\n")
		}
		waiting = err != nil
		select {
		case <-c.Done():
		case <-ticks.C:
		}
	}
	return nil
}
