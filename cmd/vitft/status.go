//go:build !slim

package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vitft/vitft/engine/work"
)

func (a *app) statusCommand() *cobra.Command {
	var o work.StatusOptions
	var asked bool
	cmd := &cobra.Command{
		Use:   "status [--cache PLACE] [--queue nats://HOST:PORT] [--json]",
		Short: "What the jobs of 'vitft encode --queue' and their workers are at",
		Long: `status says of each job of a cache what is done, how fast, until when, which images are bad and which tasks
were given up, and why. With --queue it asks the workers what they do; without, it tells what is done, which is in
the cache. It changes nothing.`,
		Example: `  vitft status --cache s3://team/vitft
  vitft status --cache s3://team/vitft --queue nats://10.0.0.1:4222 --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := work.ReadStatus(cmd.Context(), o)
			if s == nil {
				return err
			}
			show := func() error { return a.printf("%s", statusText(s)) }
			if asked {
				show = func() error { return a.printJSON(s) }
			}
			if failed := show(); err == nil {
				err = failed
			}
			return err
		},
	}
	a.declare(cmd, append(o.Fields(), asJSON(&asked))...)
	return cmd
}

// shownBad is how many bad images, and tasks that were given up, are shown to readers.
const shownBad = 10

// statusText is a status for readers.
func statusText(s *work.Status) string {
	var b strings.Builder
	if len(s.Jobs) == 0 {
		fmt.Fprintf(&b, "no jobs in %s\n", s.Cache)
	}
	for _, j := range s.Jobs {
		jobText(&b, j)
	}
	if q := s.Queue; q != nil {
		fmt.Fprintf(&b, "queue %s: %d tasks waiting, %d given out, %d of them again\n", q.URL, q.Waiting, q.GivenOut,
			q.Redelivered)
	}
	for _, w := range s.Workers {
		workerText(&b, w, s)
	}
	return b.String()
}

func jobText(b *strings.Builder, j work.JobStatus) {
	if j.Fault != "" {
		fmt.Fprintf(b, "job %s: %s\n  %s\n", j.Job, j.Fault, j.Where)
		return
	}
	fmt.Fprintf(b, "job %s: %d of %d tasks done", j.Job, j.Tasks.Done, j.Tasks.All)
	if j.Tasks.InWork != nil {
		fmt.Fprintf(b, ", %d in work, %d waiting", *j.Tasks.InWork, *j.Tasks.Waiting)
	}
	fmt.Fprintf(b, ", %d given up; %d of %d images, %d bad", j.Tasks.GivenUp, j.Images.Done, j.Images.All, j.Images.Bad)
	if j.ETA != nil {
		fmt.Fprintf(b, "; %.1f images/s, %v left", j.Rate, span(*j.ETA))
	}
	fmt.Fprintf(b, "\n  %s", j.Where)
	if j.Stored != "" {
		fmt.Fprintf(b, ", %s as %s", j.Feature, j.Stored)
	}
	if !j.Submitted.IsZero() {
		fmt.Fprintf(b, ", submitted %s on %s", j.Submitted.Local().Format(time.DateTime), j.By)
	}
	b.WriteByte('\n')
	for i, x := range j.Bad {
		if i == shownBad {
			break
		}
		fmt.Fprintf(b, "  bad: %s: %s\n", x.Path, x.Reason)
	}
	if more := j.Images.Bad - min(shownBad, len(j.Bad)); more > 0 {
		fmt.Fprintf(b, "  and %d more that are bad; --json names 100\n", more)
	}
	for i, f := range j.GivenUp {
		if i == shownBad {
			fmt.Fprintf(b, "  and %d more that were given up; --json names all\n", len(j.GivenUp)-i)
			break
		}
		fmt.Fprintf(b, "  task %d was given up after %d tries, by %s: %s\n", f.Task, f.Tries, f.Worker, f.Reason)
	}
}

func workerText(b *strings.Builder, w work.Worker, s *work.Status) {
	fmt.Fprintf(b, "worker %s: ", w.Name)
	switch {
	case !w.Answers && s.Queue != nil:
		b.WriteString("does not answer, ")
	case w.Doing != nil:
		fmt.Fprintf(b, "task %d of %s for %v, ", w.Doing.Task, w.Doing.Job, span(s.At.Sub(w.Doing.Since).Seconds()))
	case w.Answers:
		b.WriteString("waits for a task, ")
	}
	if !w.Since.IsZero() {
		fmt.Fprintf(b, "there since %s, ", w.Since.Local().Format(time.DateTime))
	}
	fmt.Fprintf(b, "%d tasks, %d images, %d bad, %.1f images/s, last seen %s\n", w.Tasks, w.Images, w.Bad, w.Rate,
		w.Seen.Local().Format(time.DateTime))
}

// span is a span of time for readers.
func span(n float64) time.Duration {
	return time.Duration(min(max(n, 0), 1e9) * float64(time.Second)).Round(time.Second)
}
