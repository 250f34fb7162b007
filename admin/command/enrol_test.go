package command

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/earlybird/earlybird/deploy/testserver"
	"github.com/earlybird/earlybird/identity/account/enrolment"
)

// sink is an output that tells when it is first written to, and may fail.
type sink struct {
	bytes.Buffer
	written func()
	err     error
}

func (s *sink) Write(p []byte) (int, error) {
	if s.written != nil {
		s.written()
		s.written = nil
	}
	if s.err != nil {
		return 0, s.err
	}
	return s.Buffer.Write(p)
}

// TestEnrolIssueCutOff interrupts the issue of 1,200 codes at the first of the
// output, takes MongoDB away, or the output. What is in the output works, and it is
// said how much that is; then it is finished.
func TestEnrolIssueCutOff(t *testing.T) {
	const n = 1200
	for _, tt := range []struct {
		name   string
		cut    func(stop context.CancelFunc, proxy *testserver.Proxy)
		err    error // of the output
		status int
		says   []string
	}{
		{
			"interrupted", func(stop context.CancelFunc, _ *testserver.Proxy) { stop() }, nil, exitInterrupted,
			[]string{"interrupted: codes issued: 500, customers skipped: 0, not reached: 700", "hint: what was issued is in the output; run it again for the others"},
		},
		{
			"MongoDB is gone", func(_ context.CancelFunc, proxy *testserver.Proxy) { proxy.SetDown(true) }, nil, exitFailed,
			[]string{"mongodb: find in enrolments: ", "codes issued: 500, customers skipped: 0, not reached: 700", "with --reissue"},
		},
		{
			"the disk is full", func(context.CancelFunc, *testserver.Proxy) {}, errors.New("no space left on device"), exitFailed,
			[]string{"no space left on device: codes issued: ", "with --reissue"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStores(t)
			path := filepath.Join(t.TempDir(), "customers.csv")
			if err := os.WriteFile(path, []byte(manyCustomers(n)), 0o600); err != nil {
				t.Fatal(err)
			}
			proxy, through := testserver.NewProxy(t, s.mongoURL, nil)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			out, errs := &sink{written: func() { tt.cut(stop, proxy) }, err: tt.err}, &bytes.Buffer{}
			argv := []string{
				"earlybird", "--mongo-url", through + "?serverSelectionTimeoutMS=100", "--redis-url", s.server.URL(),
				"enrol", "issue", "--customers", path, "--yes", "--output", "csv",
			}
			if got := Run(ctx, argv, Streams{Out: out, Err: errs}); got != tt.status {
				t.Errorf("exit %d, want %d: %s", got, tt.status, errs)
			}
			for _, want := range tt.says {
				if !strings.Contains(errs.String(), want) {
					t.Errorf("it says %s, want %q", errs, want)
				}
			}
			codes := codesIn(t, out.String())
			registry := enrolment.NewRegistry(s.mongo, nil)
			for customer, code := range codes {
				if admitted, err := registry.Admit(t.Context(), code); err != nil || admitted.Customer != customer {
					t.Fatalf("the code of %s: %+v, %v", customer, admitted, err)
				}
			}
			rest := codesIn(t, s.mustRun(t, fmt.Sprintf("enrol issue --customers %s --yes --output csv", path)))
			if tt.name == "interrupted" && len(codes)+len(rest) != n {
				t.Errorf("%d codes before and %d after, want %d in all", len(codes), len(rest), n)
			}
			for customer := range rest {
				if codes[customer] != "" {
					t.Errorf("%s got a second code", customer)
				}
			}
			if all := codesIn(t, s.mustRun(t, fmt.Sprintf("enrol issue --customers %s --yes --reissue --output csv", path))); len(all) != n {
				t.Errorf("%d codes with --reissue, want %d", len(all), n)
			}
		})
	}
}

// TestEnrolIssueUnwritten: also the last codes, which are written when all are
// stored, may not reach a disk that is full.
func TestEnrolIssueUnwritten(t *testing.T) {
	for _, format := range []string{"csv", "table"} {
		s := newStores(t)
		path := filepath.Join(t.TempDir(), "customers.csv")
		if err := os.WriteFile(path, []byte(manyCustomers(3)), 0o600); err != nil {
			t.Fatal(err)
		}
		errs := &bytes.Buffer{}
		argv := []string{
			"earlybird", "--mongo-url", s.mongoURL, "--redis-url", s.server.URL(),
			"enrol", "issue", "--customers", path, "--yes", "--output", format,
		}
		if got := Run(t.Context(), argv, Streams{Out: struct{ io.Writer }{&sink{err: errors.New("no space left on device")}}, Err: errs}); got != exitFailed {
			t.Errorf("%s: exit %d", format, got)
		}
		if !strings.Contains(errs.String(), "with --reissue") {
			t.Errorf("%s: it says %s", format, errs)
		}
	}
}

// codesIn are the codes of an output, by customer.
func codesIn(t *testing.T, text string) map[string]string {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	codes := map[string]string{}
	for i, row := range rows {
		if i > 0 {
			codes[row[0]] = row[1]
		}
	}
	return codes
}
