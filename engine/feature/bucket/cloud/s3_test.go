package cloud_test

import (
	"fmt"
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
