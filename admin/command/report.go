package command

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/earlybird/earlybird/admin/output"
	"github.com/earlybird/earlybird/admin/page"
	"github.com/earlybird/earlybird/identity/campaign"
)

var reportColumns = columns("file campaign entries hash log_sha256 ok")

// toOutput is the name of a file that stands for the output, as of a container that
// has no file of its own to keep.
const toOutput = "-"

// campaignReport writes the report of a campaign into a file, and what proves it
// to the output. Like an audit it fails when a promise is broken.
func campaignReport(c *cli.Context) error {
	if err := required(c, "html"); err != nil {
		return err
	}
	f, err1 := format(c)
	id, err2 := which(c)
	if err := errors.Join(err1, err2, noArguments(c)); err != nil {
		return err
	}
	file := c.String("html")
	if err := mayReplace(c, file); err != nil {
		return err
	}
	return withStores(c, func(s *stores) error {
		r, err := s.audit(c.Context, id)
		if err != nil {
			return err
		}
		report, err := s.report(c.Context, r)
		if err != nil {
			return err
		}
		broken := r.broken()
		if file == toOutput {
			out := bufio.NewWriter(c.App.Writer)
			return errors.Join(report.Write(out), out.Flush(), broken)
		}
		if err := replaceFile(file, report.Write); err != nil {
			return err
		}
		err = output.One(c.App.Writer, f, reportColumns,
			file, campaignID(r.fold), r.fold.At().Seq+1, r.fold.Hash().String(), report.LogSHA256, broken == nil)
		return errors.Join(err, broken)
	})
}

// report gathers what the report says beside the audit.
func (s *stores) report(ctx context.Context, r auditReport) (page.Report, error) {
	sum := sha256.New()
	if err := writeLog(sum, r.fold); err != nil {
		return page.Report{}, err
	}
	turnedAway, err := s.turnedAway(ctx, r.fold)
	if err != nil {
		return page.Report{}, err
	}
	reasons, err := s.mongo.Reasons(ctx, r.fold.Campaign())
	if err != nil {
		return page.Report{}, err
	}
	return page.Report{
		Fold: r.fold, MadeAt: time.Now(), By: s.by,
		LogSHA256: hex.EncodeToString(sum.Sum(nil)), Mirror: r.mirror, Findings: r.findings, TurnedAway: turnedAway, Reasons: reasons,
		Names: func(ids []string) (map[string]string, error) { return s.mongo.Usernames(ctx, ids) },
	}, nil
}

// turnedAway counts who logged in between start and end and holds no place.
func (s *stores) turnedAway(ctx context.Context, fold *campaign.Fold) (int64, error) {
	if fold.OpenedAt().IsZero() {
		return 0, nil
	}
	until := time.Now().Add(campaign.MaxSkew)
	if fold.Phase() == campaign.PhaseEnded {
		until = fold.Since()
	}
	without := map[string]bool{}
	for l, err := range s.mongo.Logins(ctx, fold.OpenedAt(), until) {
		if err != nil {
			return 0, err
		}
		if fold.Position(l.UserID) == 0 {
			without[l.UserID] = true
		}
	}
	return int64(len(without)), nil
}

// mayReplace asks before a file is replaced, and refuses what cannot be one.
func mayReplace(c *cli.Context, file string) error {
	if file == toOutput {
		return nil
	}
	info, err := os.Lstat(file)
	switch {
	case file == "":
		return usage("--html: is empty: give the name of a file, such as report.html")
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Dir(file)); err != nil {
			return usage("--html: there is no folder %s", filepath.Dir(file))
		}
		return nil
	case err != nil:
		return fmt.Errorf("--html: %w", err)
	case !info.Mode().IsRegular():
		return usage("--html: %s is there and is no file: give the name of a file", file)
	}
	return confirm(c, "This replaces %s, which is from %s.", file, info.ModTime().Format(time.RFC3339))
}

// replaceFile writes a file that others see whole or not at all. Only its owner
// may read it.
func replaceFile(name string, write func(io.Writer) error) error {
	temporary, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return fmt.Errorf("--html: %w", err)
	}
	defer func() { // after the rename there is nothing to do
		_ = temporary.Close()
		_ = os.Remove(temporary.Name())
	}()
	out := bufio.NewWriter(temporary)
	if err := errors.Join(write(out), out.Flush(), temporary.Sync(), temporary.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return os.Rename(temporary.Name(), name)
}
