package cloud_test

import (
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature/bucket/cloud"
	"github.com/vitft/vitft/internal/testkit"
)

// What is no bucket is refused at once, by name, and no credentials are repeated.
func TestWrongPlaces(t *testing.T) {
	endpoint := testkit.S3(t, "photos")
	for url, want := range map[string]fault.Kind{
		"s3://":                             fault.Config,
		"s3:///photos":                      fault.Config,
		"ftp://photos":                      fault.Config,
		"s3://user:hidden@photos":           fault.Config,
		"s3://photos?colour=hidden":         fault.Config,
		"s3://other?endpoint=" + endpoint:   fault.Data,
		"s3://ph%zz":                        fault.Config,
		"gs://a b?secret=hidden":            fault.Config,
		"azblob://photos?domain=hidden%00x": fault.Config,
	} {
		b, err := cloud.Open(t.Context(), url, "", t.TempDir())
		if err == nil {
			b.Close()
			t.Errorf("%s is opened", url)
			continue
		}
		if fault.Of(err) != want || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %q: %v", url, fault.Of(err), err)
		}
	}
}
