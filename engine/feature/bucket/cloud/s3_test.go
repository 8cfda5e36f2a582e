package cloud_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/engine/feature/bucket/buckettest"
	"github.com/vitft/vitft/internal/testkit"
)

func TestS3(t *testing.T) {
	endpoint, n := testkit.S3(t, "photos"), 0
	buckettest.Run(t, func(t *testing.T) bucket.Bucket {
		n++
		return open(t, fmt.Sprintf("s3://photos/run/%d?endpoint=%s", n, endpoint))
	})
}

// VITFT_BUCKET is the URL of an empty place in a bucket of another provider, or of its emulator.
func TestBucketOfYours(t *testing.T) {
	place, parameters, _ := strings.Cut(os.Getenv("VITFT_BUCKET"), "?")
	if place == "" {
		t.Skip("VITFT_BUCKET names no bucket")
	}
	n := 0
	buckettest.Run(t, func(t *testing.T) bucket.Bucket {
		n++
		return open(t, fmt.Sprintf("%s/run/%d?%s", place, n, parameters))
	})
}
