package cloud_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/engine/feature/bucket/buckettest"
	"github.com/vitft/vitft/engine/place"
	"github.com/vitft/vitft/internal/testkit"
)

// eachStore runs a test with a place in a server of each object store.
func eachStore(t *testing.T, test func(t *testing.T, url string)) {
	for _, scheme := range testkit.ObjectStores {
		t.Run(scheme, func(t *testing.T) {
			defer place.Forget()
			_, parameters := testkit.ObjectStore(t, scheme, "photos")
			test(t, scheme+"://photos/some"+parameters)
		})
	}
}

func TestObjectStores(t *testing.T) {
	eachStore(t, func(t *testing.T, url string) {
		place, parameters, _ := strings.Cut(url, "?")
		n := 0
		buckettest.Run(t, func(t *testing.T) bucket.Bucket {
			n++
			return open(t, fmt.Sprintf("%s/%d?%s", place, n, parameters))
		})
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
