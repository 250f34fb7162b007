package program_test

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"

	"github.com/earlybird/earlybird/identity/program"
)

// asProgram makes this test's executable a program that says on descriptor 3
// how it goes, and waits for a signal.
const asProgram = "SIGNALS_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		beAProgram()
		return
	}
	os.Exit(m.Run())
}

func beAProgram() {
	ctx, stop := program.NotifyContext(context.Background())
	defer stop()
	says := os.NewFile(3, "says")
	for _, file := range []*os.File{os.Stdout, os.Stderr} {
		if _, err := io.WriteString(file, "a log line\n"); err == nil {
			_, _ = io.WriteString(says, "somebody reads "+file.Name()+"\n")
			return
		}
	}
	if signal.Ignored(syscall.SIGHUP) {
		_, _ = io.WriteString(says, "SIGHUP is ignored\n")
	}
	_, _ = io.WriteString(says, "serving\n")
	<-ctx.Done()
	_, _ = io.WriteString(says, "drained\n")
}

// deaf starts the program with a standard output and error whose reader is gone.
func deaf(t *testing.T, words ...string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = reader.Close()
	heard, says, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = writer, writer, []*os.File{says}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = writer.Close(), says.Close()
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = heard.Close() })
	return cmd, bufio.NewScanner(heard)
}

func TestSignals(t *testing.T) {
	for _, ending := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(ending.String(), func(t *testing.T) {
			cmd, lines := deaf(t, os.Args[0])
			if !lines.Scan() || lines.Text() != "serving" {
				t.Fatalf("the program says %q, want serving: has it ended at its first log line?", lines.Text())
			}
			for _, s := range []os.Signal{syscall.SIGPIPE, ending} {
				if err := cmd.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
			}
			if !lines.Scan() || lines.Text() != "drained" {
				t.Errorf("the program says %q, want drained", lines.Text())
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("exit: %v", err)
			}
		})
	}
}

// TestNohup starts the program as nohup does.
func TestNohup(t *testing.T) {
	_, lines := deaf(t, "/bin/sh", "-c", `trap "" HUP; exec "$0"`, os.Args[0])
	if !lines.Scan() || lines.Text() != "SIGHUP is ignored" {
		t.Errorf("the program says %q: a SIGHUP would end it", lines.Text())
	}
}
