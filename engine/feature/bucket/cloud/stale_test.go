package cloud_test

import (
	"errors"
	"io"
	"io/fs"
	"testing"

	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/internal/testkit"
)

// Who is told that an object is there already reads that one, not a copy of what was there before.
func TestCopyOfWhatIsGone(t *testing.T) {
	location := "s3://photos/x?endpoint=" + testkit.S3(t, "photos")
	ours, others := open(t, location), open(t, location)
	publish := func(b bucket.Bucket, content string) error {
		return b.Publish(t.Context(), "identity", func(w io.Writer) error {
			_, err := io.WriteString(w, content)
			return err
		})
	}
	read := func(b bucket.Bucket) string {
		t.Helper()
		o, err := b.Open(t.Context(), "identity")
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		content, err := bucket.Content(o)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	if err := publish(ours, "first"); err != nil || read(others) != "first" {
		t.Fatalf("%q, %v", read(others), err)
	}
	if err := ours.SetAside(t.Context(), "identity"); err != nil {
		t.Fatal(err)
	}
	if err := publish(ours, "second"); err != nil || read(ours) != "second" {
		t.Errorf("%q, %v", read(ours), err)
	}
	if err := publish(others, "third"); !errors.Is(err, fs.ErrExist) || read(others) != "second" {
		t.Errorf("%q, %v", read(others), err)
	}
}
