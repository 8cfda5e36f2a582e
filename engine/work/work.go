// Package work encodes images on many machines: as tasks of a queue, done by any number of workers, whose results lie
// in one bucket.
//
// # Basics
//
//	// where the images are known
//	err := work.Submit(ctx, work.Submission{…}, queue, ev)
//	// on any machine, any number of times
//	err := work.Serve(ctx, work.WorkerOptions{…}, ev)
//
// A [Job] is a list of images, frozen, and the backbone that encodes them, under a hash of all that decides what comes
// out. It is cut into tasks; a task makes one block of features for each view, whose name follows from job and number
// and whose content follows from the images, and then a record of what it has done.
//
// The queue is a hint, the bucket is the truth. A task is done if its record is there, and only then: who submits looks
// at the bucket and queues again what is missing, also after queue and workers were lost. A task that is done twice
// publishes what is there already.
//
// The queue is NATS JetStream: a server in this process without an open port, one that this process opens to others,
// or a cluster; see [Queue].
//
// # Caveats
//
// Workers read images by the paths that the job has: they must see the same folders.
package work

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature"
	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/par"
	"github.com/vitft/vitft/vit"
)

// Job is what is to be done.
type Job struct {
	Format     string         `json:"format"`
	Keys       []store.Key    `json:"keys"`       // of the features of each view, the plain one first
	Model      string         `json:"model"`      // SHA-256 of the graph that computes the embedding, weights included
	Preprocess vit.Preprocess `json:"preprocess"` // of its images
	// Library is the version of the runtime library, by which features differ in their last bits; any.
	Library string `json:"library,omitempty"`

	Images int      `json:"images"`
	Tasks  []string `json:"tasks"` // SHA-256 of the list of each
}

// Image is an entry of a task's list, with what the file that it is, or is in, was like when the job was submitted.
type Image struct {
	Path     string `json:"path"` // FILE#NAME for an image inside a file
	Size     int64  `json:"size"`
	Modified int64  `json:"modified"` // in nanoseconds; 0 if that cannot be told
	// Tag is the hash that an object store has of a file.
	Tag string `json:"tag,omitempty"`
}

// info is about the file.
func (im Image) info() fs.FileInfo {
	return place.Expected(im.Path, im.Size, time.Unix(0, im.Modified), im.Tag)
}

// Record is what a task has done, an entry an image.
type Record struct {
	Images []Done `json:"images"`
	Worker string `json:"worker"`
	// Seconds are those of decoding and running the backbone.
	Seconds float64   `json:"seconds"`
	At      time.Time `json:"at,omitzero"`
}

// Done is what came of an image: the SHA-256 of its bytes, or why it cannot be used.
type Done struct {
	ID    string `json:"id,omitempty"`
	Fault string `json:"fault,omitempty"`
	Other bool   `json:"other,omitempty"` // the file was not what it was when the job was submitted
	Kills bool   `json:"kills,omitempty"` // whoever reads it
}

// Failure is a task that was tried too often.
type Failure struct {
	Task   int    `json:"task"`
	Tries  int    `json:"tries"`
	Worker string `json:"worker"`
	Reason string `json:"reason"`
}

const jobFormat = "vitft-job-3"

// Hash is the name of the job: 16 hexadecimal digits of the SHA-256 of all that decides what comes out.
func (j Job) Hash() string { return sum(encoded(j))[:16] }

// block is the name of a task's block of features, without folder and suffix.
func block(job string, task int) string { return fmt.Sprintf("task-%s-%06d", job, task) }

// Places of a job's objects in the bucket of jobs.
const (
	jobObject   = "job.json"
	lists       = "tasks"  // the list of each task
	records     = "done"   // the record of each that is done
	failures    = "failed" // of each that was tried too often, in a folder of the submission
	submissions = "submitted"
	modelFolder = "models"
)

func object(job, folder string, task int) string {
	return fmt.Sprintf("%s/%s/%06d.json", job, folder, task)
}

// jobBucket is the bucket of jobs.
type jobBucket struct{ bucket.Bucket }

// hold keeps a job from being pruned until what it returns is closed; nil where that cannot be.
func (b jobBucket) hold(ctx context.Context, hash string) io.Closer {
	holder, can := b.Bucket.(bucket.Holder)
	if !can {
		return nil
	}
	held, err := holder.Hold(ctx, hash, hash+"/"+jobObject)
	if err != nil { // where it cannot be held it may be pruned
		return nil
	}
	return held
}

// publish puts an object; that one is there already is no error: of two that say what a task has done one is enough.
func (b jobBucket) publish(ctx context.Context, name string, content []byte) error {
	err := b.Publish(ctx, name, func(w io.Writer) error { _, err := w.Write(content); return err })
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// keep puts an object whose name follows from its content, unless one is there already, and says whether it did. One
// that is damaged is set aside.
func (b jobBucket) keep(ctx context.Context, name string, content []byte, there bool) (put bool, err error) {
	for try := 1; ; try++ {
		if !there {
			if err := b.publish(ctx, name, content); err != nil {
				return put, err
			}
			put = true
		}
		there = false
		got, err := b.read(ctx, name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) || err == nil && bytes.Equal(got, content) {
			return put, err
		}
		if err == nil {
			err = b.SetAside(ctx, name) // which may find that only the copy on this machine is damaged
		}
		if try == 3 {
			return put, fault.Data.Errorf("%s is damaged, again and again: %w", b.Where(name),
				cmp.Or(err, fs.ErrExist))
		}
	}
}

// read is the content of an object.
func (b jobBucket) read(ctx context.Context, name string) ([]byte, error) {
	o, err := b.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	content, err := bucket.Content(o)
	return bytes.Clone(content), err
}

// each does n things side by side, as many as the bucket is for; when one fails no further is begun.
func (b jobBucket) each(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	err := par.For(ctx, n, bucket.Together(b.Bucket), func(i int) {
		if err := do(ctx, i); err != nil {
			stop(err)
		}
	})
	if err != nil {
		return context.Cause(ctx)
	}
	return nil
}

// damaged sets an object aside, so that the same command publishes it anew, and is the error that says so.
func (b jobBucket) damaged(ctx context.Context, name, reason string) error {
	err := fault.Data.Errorf("%s is damaged: %s", b.Where(name), reason)
	return errors.Join(err, b.SetAside(ctx, name))
}

// job reads a job, and makes sure that it is the one of that name.
func (b jobBucket) job(ctx context.Context, hash string) (Job, error) {
	var j Job
	name := hash + "/" + jobObject
	text, err := b.read(ctx, name)
	if err != nil {
		return j, err
	}
	switch err := json.Unmarshal(text, &j); {
	case err != nil:
		return j, b.damaged(ctx, name, err.Error())
	case j.Format != jobFormat && strings.HasPrefix(j.Format, "vitft-job-"):
		return j, unableError{fault.Runtime.Errorf("job %s is %s, this program does %s: it is of another version", hash,
			j.Format, jobFormat)}
	case j.Format != jobFormat || j.Hash() != hash || len(j.Keys) == 0:
		return j, b.damaged(ctx, name, "it is not the job of that hash")
	}
	return j, nil
}

// list reads the list of a task.
func (b jobBucket) list(ctx context.Context, hash string, j Job, task int) ([]Image, error) {
	if task < 0 || task >= len(j.Tasks) {
		return nil, fault.Data.Errorf("job %s has %d tasks, and no %d", hash, len(j.Tasks), task)
	}
	name := object(hash, lists, task)
	text, err := b.read(ctx, name)
	if err != nil {
		return nil, err
	}
	var images []Image
	if sum(text) != j.Tasks[task] || json.Unmarshal(text, &images) != nil {
		return nil, b.damaged(ctx, name, "it is not the list of the job")
	}
	return images, nil
}

// bucketOf opens the bucket of jobs, beside that of features.
func bucketOf(ctx context.Context, o feature.Options) (bucket.Closing, error) {
	b, err := bucket.Open(ctx, o.Cache, feature.JobsFolder, filepath.Join(o.Here(), feature.ObjectsFolder))
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	return b, nil
}

// openJobs opens the bucket of jobs, and tells its identity.
func openJobs(ctx context.Context, o feature.Options) (bucket.Closing, string, error) {
	b, err := bucketOf(ctx, o)
	if err != nil {
		return nil, "", err
	}
	identity, err := jobBucket{b}.identity(ctx, rand.Text())
	if err != nil {
		return nil, "", errors.Join(err, b.Close())
	}
	return b, identity, nil
}

// identity tells the bucket from others, wherever it is seen from: who makes it first decides.
func (b jobBucket) identity(ctx context.Context, random string) (string, error) {
	if err := b.publish(ctx, "identity", []byte(random)); err != nil {
		return "", err
	}
	text, err := b.read(ctx, "identity")
	if err == nil && !identityPattern.Match(text) {
		err = b.damaged(ctx, "identity", "it is no name of a bucket; stop the workers, try again and start them")
	}
	return string(text), err
}

// identityPattern is what rand.Text makes.
var identityPattern = regexp.MustCompile("^[A-Z2-7]{26}$")

// tidy removes what killed processes have left of a job.
func (b jobBucket) tidy(ctx context.Context, hash string) {
	for _, folder := range []string{"", modelFolder, hash, hash + "/" + lists, hash + "/" + records,
		hash + "/" + submissions, hash + "/" + begun} {
		_, _ = b.Tidy(ctx, folder)
	}
}

// taskBytes is how much is in a task at most, if it has more than one image.
const taskBytes = 256 << 20

// featureBytes is how much the features of a task take up at most, in each view.
const featureBytes = 64 << 20

// tokenBytes is how much the tokens of a task take up at most as they are kept, in all views: of those of an image, a
// hundred times as large as a feature, a task has fewer images.
const tokenBytes = 16 << 20

// most is how many images a task has at most, where so many are asked for, by the keys of its views.
func most(images int, keys []store.Key) int {
	n := min(images, featureBytes/(4*keys[0].Dim))
	if keys[0].Stored == store.Half {
		n = min(n, int(tokenBytes/(int64(len(keys))*keys[0].Bytes())))
	}
	return max(1, n)
}

// cut makes tasks of images in their order, by number and by the bytes of those that are files.
func cut(items []dataset.Item, images []Image, most int) (tasks [][]Image) {
	var bytes int64
	for i, begin := 0, 0; i < len(images); i++ {
		if !items[i].Inside() {
			bytes += images[i].Size
		}
		if last := i == len(images)-1; last || bytes >= taskBytes || i+1-begin == most {
			tasks = append(tasks, images[begin:i+1])
			begin, bytes = i+1, 0
		}
	}
	return tasks
}

// freeze lists the images of all sets, each path once.
func freeze(sets *dataset.Sets) (items []dataset.Item, images []Image, err error) {
	seen := map[string]bool{}
	for _, p := range sets.Parts() {
		for _, it := range p.Data.Items {
			if seen[it.Path] {
				continue
			}
			seen[it.Path] = true
			path, err := absolute(it.Path)
			if err != nil {
				return nil, nil, err
			}
			items, images = append(items, it), append(images, Image{Path: path})
		}
	}
	_ = par.For(context.Background(), len(images), 0, func(i int) {
		if info, err := items[i].Info(); err == nil { // else its reading will say why, on whichever machine
			im := &images[i]
			im.Size, im.Modified, im.Tag = info.Size(), info.ModTime().UnixNano(), place.Tag(info)
		}
	})
	return items, images, nil
}

func sum(content []byte) string {
	s := sha256.Sum256(content)
	return hex.EncodeToString(s[:])
}

// encoded is v as JSON; of the types of this package that never fails.
func encoded(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

// outcome is a worker's record of an image.
func outcome(id store.ID, fault error, same bool) Done {
	if fault != nil {
		return Done{Fault: fault.Error()}
	}
	return Done{ID: hex.EncodeToString(id[:]), Other: !same}
}
