package cloud_test

import (
	"testing"

	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/engine/feature/bucket/buckettest"
	"github.com/vitft/vitft/engine/feature/bucket/cloud"
)

func open(t *testing.T, url string) *cloud.Bucket {
	t.Helper()
	b, err := cloud.Open(t.Context(), url, "", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestMemory(t *testing.T) {
	buckettest.Run(t, func(t *testing.T) bucket.Bucket { return open(t, "mem://") })
}
