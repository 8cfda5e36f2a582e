package work

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"
)

// begun is a folder of marks: which tasks a submitting process has in hand, and after how many deaths. Its queue ends
// with it and counts no deliveries for the next one, which counts the marks that were left instead.
const begun = "begun"

// deaths counts, by task, the submitting processes that had it and left without a word.
func (b jobBucket) deaths(ctx context.Context, hash string) (map[int]int, error) {
	names, err := b.List(ctx, hash+"/"+begun+"/")
	died := map[int]int{}
	for _, name := range names {
		text, _, _ := strings.Cut(path.Base(name), "-")
		if task, err := strconv.Atoi(text); err == nil {
			died[task]++
		}
	}
	return died, err
}

// forgets takes the marks of a job away that is done: nobody has a task of it in hand any more. A worker that is
// stopped between recording a task and taking its marks away leaves them, and so does one that is killed there.
func (b jobBucket) forgets(ctx context.Context, hash string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	names, _ := b.List(ctx, hash+"/"+begun+"/")
	for _, name := range names {
		_ = b.Delete(ctx, name)
	}
}

// holds marks that this process, if it has submitted the job, has a task in hand, until lets says whether it is done.
func (w *worker) holds(ctx context.Context, hash string, task int) (lets func(done bool)) {
	if w.died == nil || hash != w.hash {
		return func(bool) {}
	}
	name := func(n int) string { return fmt.Sprintf("%s/%s/%06d-%d", hash, begun, task, n) }
	died := w.died[task]
	if died > 0 {
		w.events.Warn("an earlier process has died with this task in hand", "job", hash, "task", task, "times", died)
	}
	_ = w.jobs.publish(ctx, name(died), []byte(w.name)) // else a death is not counted
	return func(done bool) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		for n := died; n >= 0 && (done || n == died); n-- {
			_ = w.jobs.Delete(ctx, name(n))
		}
	}
}
