package gpu_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/onnx"
)

// doctor checks that vitft doctor finds the provider working, and puts its answer into the report.
func (b *bench) doctor() error {
	out, err := exec.CommandContext(b.ctx, b.vitft, "doctor", "--json").Output()
	b.printf("`vitft doctor --json`:\n\n```json\n%s\n```\n\n", bytes.TrimSpace(out))
	if err != nil {
		return err
	}
	var answer struct{ Providers []onnx.ProviderStatus }
	if err := json.Unmarshal(out, &answer); err != nil {
		return err
	}
	for _, p := range answer.Providers {
		if p.Provider == b.provider && !p.Works {
			return fmt.Errorf("%s does not work: %s; %s", p.Provider, p.Missing, p.Fix)
		}
	}
	return nil
}

// command is vitft, running.
type command struct {
	*exec.Cmd
	out    bytes.Buffer
	events *bufio.Scanner // its log, a JSON object a line
	log    bytes.Buffer   // what was read of that
}

func (b *bench) start(arguments ...string) (*command, error) {
	c := &command{Cmd: exec.CommandContext(b.ctx, b.vitft,
		append(arguments, "--provider", string(b.provider), "--log-format", "json")...)}
	c.Stdout = &c.out
	stderr, err := c.StderrPipe()
	if err != nil {
		return nil, err
	}
	c.events = bufio.NewScanner(io.TeeReader(stderr, &c.log))
	return c, c.Start()
}

// await reads the log up to a message and returns that line.
func (c *command) await(message string) (map[string]any, error) {
	for c.events.Scan() {
		var line map[string]any
		if json.Unmarshal(c.events.Bytes(), &line) == nil && line["message"] == message {
			return line, nil
		}
	}
	return nil, fmt.Errorf("it never said %q (%w): %s", message, c.Wait(), c.log.String())
}

// end reads the rest of the log and returns the exit code.
func (c *command) end() (int, error) {
	for c.events.Scan() {
	}
	err := c.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() >= 0 {
		return exit.ExitCode(), nil
	}
	return 0, err
}

var encoded = regexp.MustCompile(`(\d+) encoded now, (\d+) from the store`)

// interrupt checks that Ctrl-C ends an encoding with exit code 130, and that the same command goes on where it was.
func (b *bench) interrupt(s *subject, p *pictures) error {
	arguments := []string{"encode", "--backbone", s.file, "--train", b.manifest(p, b.images),
		"--cache", b.path("interrupted")}
	c, err := b.start(append(arguments, "--batch", "1")...)
	if err != nil {
		return err
	}
	if _, err := c.await("feature store"); err != nil {
		return err
	}
	time.Sleep(200 * time.Millisecond) // some images, and far from all
	if err := c.Process.Signal(os.Interrupt); err != nil {
		return fmt.Errorf("it ended before the signal: %w", err)
	}
	code, err := c.end()
	if err != nil || code != 130 {
		return fmt.Errorf("exit code %d (%w) in place of 130: %s", code, err, c.log.String())
	}
	if c, err = b.start(append(arguments, "--batch", "64")...); err != nil {
		return err
	}
	if code, err := c.end(); err != nil || code != 0 {
		return fmt.Errorf("going on: exit code %d (%w): %s", code, err, c.log.String())
	}
	counts := encoded.FindStringSubmatch(c.out.String())
	if counts == nil {
		return fmt.Errorf("going on: it said %q", c.out.String())
	}
	now, _ := strconv.Atoi(counts[1])
	before, _ := strconv.Atoi(counts[2])
	b.printf("- of %d images %d were kept when it was interrupted\n", b.images, before)
	if before == 0 || now+before != b.images {
		return fmt.Errorf("%d images were kept and %d encoded then, of %d", before, now, b.images)
	}
	return nil
}

// serve checks that the server answers with a label, runs on the provider, and ends in order.
func (b *bench) serve(s *subject, p *pictures) (err error) {
	file := testkit.WriteFile(b, b.path("classifier.onnx"), s.classifier)
	c, err := b.start("serve", "--model", "m="+file, "--addr", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Process.Kill())
		}
	}()
	line, err := c.await("listening")
	if err != nil {
		return err
	}
	url, _ := line["url"].(string)
	var model struct{ Provider string }
	if err := answer(b.ctx, http.MethodGet, url+"/v1/models/m", nil, &model); err != nil {
		return err
	}
	if model.Provider != string(b.provider) {
		return fmt.Errorf("it runs on %q", model.Provider)
	}
	var classified struct{ Results []struct{ Label string } }
	if err := answer(b.ctx, http.MethodPost, url+"/v1/classify", p.encoded[0], &classified); err != nil {
		return err
	}
	if len(classified.Results) != 1 || !strings.HasPrefix(classified.Results[0].Label, "class ") {
		return fmt.Errorf("it answered %+v", classified)
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if code, err := c.end(); err != nil || code != 0 {
		return fmt.Errorf("exit code %d (%w): %s", code, err, c.log.String())
	}
	return nil
}

// answer asks and reads a JSON answer.
func answer(ctx context.Context, method, url string, body []byte, into any) error {
	q, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %s", method, url, r.Status, text)
	}
	return json.Unmarshal(text, into)
}
