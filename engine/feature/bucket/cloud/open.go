package cloud

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/cenkalti/backoff/v5"
	"gocloud.dev/blob"
	_ "gocloud.dev/blob/azureblob" // azblob://
	_ "gocloud.dev/blob/gcsblob"   // gs://
	_ "gocloud.dev/blob/memblob"   // mem://
	_ "gocloud.dev/blob/s3blob"    // s3://
	"gocloud.dev/gcerrors"
	"google.golang.org/api/googleapi"

	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/engine/place"
)

func init() {
	bucket.Register(func(ctx context.Context, url, folder, local string) (bucket.Closing, error) {
		return Open(ctx, url, folder, local)
	})
	place.Register(openFiles, schemes...)
}

// schemes are those of the providers that are imported above.
var schemes = []string{"s3", "gs", "azblob", "mem"}

// Open opens a bucket, or a prefix of one, by its URL: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX,
// azblob://CONTAINER/PREFIX or, for tests, mem://. Parameters follow a question mark, those of gocloud.dev/blob:
// s3://photos?region=eu-central-1, s3://photos?endpoint=http://host:9000. With an endpoint other than Amazon's,
// paths name the bucket and checksums are those that every server of the protocol knows. The bucket is what is below
// that in a folder, if it is not "". Copies of objects are kept in the folder local on this machine.
func Open(ctx context.Context, text, folder, local string) (*Bucket, error) {
	u, err := url.Parse(text)
	if err != nil || !slices.Contains(schemes, u.Scheme) || (u.Host == "" && u.Scheme != "mem") || u.User != nil {
		return nil, fault.Config.Errorf("%q is no place in an object store that is known: write s3://BUCKET/PREFIX, "+
			"gs://BUCKET/PREFIX or azblob://CONTAINER/PREFIX, without credentials", redacted(text))
	}
	prefix := strings.Trim(path.Join(u.Path, folder), "/")
	where := u.Scheme + "://" + u.Host + "/"
	if prefix != "" {
		prefix += "/"
		where += prefix
	}
	u.Path = ""
	objects, _, err := dial(ctx, *u)
	if err != nil {
		return nil, err
	}
	if prefix != "" {
		objects = blob.PrefixedBucket(objects, prefix)
	}
	server := where
	if endpoint := u.Query().Get("endpoint"); endpoint != "" { // another server, another bucket
		server = endpoint + " " + where
	}
	b := &Bucket{objects: objects, where: where, local: copies(local, server)}
	if err := reach(ctx, objects, "", where); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// dial opens the bucket of a URL without a path, and says how it is called.
func dial(ctx context.Context, u url.URL) (*blob.Bucket, string, error) {
	where := u.Scheme + "://" + u.Host + "/"
	if !slices.Contains(schemes, u.Scheme) {
		return nil, "", fault.Config.Errorf("%s is no place in an object store that is known: write "+
			"s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or azblob://CONTAINER/PREFIX", where)
	}
	if u.Scheme == "s3" {
		u.RawQuery = s3Parameters(u.Query()).Encode()
	}
	objects, err := blob.OpenBucket(ctx, u.String())
	if err != nil {
		if of, is := errors.AsType[*url.Error](err); is { // which repeats one made of the parameters
			err = of.Err
		}
		return nil, "", fault.Config.Errorf("%s: %s", where, strings.ReplaceAll(err.Error(), u.String(), "its URL"))
	}
	return objects, where, nil
}

// reach asks whether a bucket is there and may be listed below a prefix, so that a wrong name or missing credentials
// are said at once. A server that is busy is asked again.
func reach(ctx context.Context, objects *blob.Bucket, prefix, where string) error {
	const patience = 30 * time.Second
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var said error
	_, err := backoff.Retry(limited, func() (struct{}, error) {
		_, _, err := objects.ListPage(limited, blob.FirstPageToken, 1, &blob.ListOptions{Prefix: prefix})
		if busy(err) {
			said = err
		} else if err != nil {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	})
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case codeOf(err) == gcerrors.NotFound:
		return fault.Data.Errorf("%s: there is no such bucket, or it may not be listed", where)
	case limited.Err() != nil: // is no interruption, and must not look like one
		err = cmp.Or(said, fmt.Errorf("no answer in %v", patience))
	}
	return fmt.Errorf("%s cannot be reached: %w; look after name, region, endpoint, network and credentials "+
		"(which are found where the provider's own tools find them)", where, inTermsOfFiles(err))
}

// busy says whether a server has answered that it cannot do a request now.
func busy(err error) bool {
	status := statusOf(err)
	return status >= http.StatusInternalServerError || status == http.StatusTooManyRequests
}

// s3Parameters are the parameters with what servers other than Amazon's need.
func s3Parameters(q url.Values) url.Values {
	if q.Get("endpoint") == "" && os.Getenv("AWS_ENDPOINT_URL") == "" && os.Getenv("AWS_ENDPOINT_URL_S3") == "" {
		return q
	}
	for key, value := range map[string]string{"use_path_style": "true",
		"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"} {
		if !q.Has(key) {
			q.Set(key, value)
		}
	}
	if !q.Has("region") && os.Getenv("AWS_REGION") == "" && os.Getenv("AWS_DEFAULT_REGION") == "" {
		q.Set("region", "us-east-1")
	}
	return q
}

// redacted is a URL without parameters and user, which may hold what nobody should see.
func redacted(text string) string {
	text, _, _ = strings.Cut(text, "?")
	if scheme, rest, found := strings.Cut(text, "://"); found {
		if _, host, user := strings.Cut(rest, "@"); user {
			return scheme + "://…@" + host
		}
	}
	return text
}

// patience is how long an attempt may take, and how long there are attempts: what 64 MiB take at 220 kB/s.
const patience = 5 * time.Minute

// retry calls do until it succeeds, fails for good, or there has been enough patience.
func retry[T any](ctx context.Context, do func(context.Context) (T, error)) (T, error) {
	attempt := func() (T, error) {
		if ctx.Err() != nil {
			return *new(T), backoff.Permanent(ctx.Err())
		}
		limited, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		value, err := do(limited)
		switch {
		case err == nil:
			return value, nil
		case ctx.Err() != nil:
			return value, backoff.Permanent(ctx.Err())
		case limited.Err() != nil: // is no cancellation, and must not look like one
			return value, fmt.Errorf("no answer in %v", patience)
		case !passing(err):
			return value, backoff.Permanent(err)
		}
		return value, err
	}
	value, err := backoff.Retry(ctx, attempt, backoff.WithMaxElapsedTime(patience))
	if permanent := (*backoff.PermanentError)(nil); errors.As(err, &permanent) {
		err = permanent.Unwrap()
	}
	return value, err
}

// passing says whether an error may pass.
func passing(err error) bool {
	if status := statusOf(err); status >= 400 && status < 500 && status != http.StatusRequestTimeout &&
		status != http.StatusTooManyRequests {
		return false
	}
	switch codeOf(err) {
	case gcerrors.Unknown, gcerrors.Internal, gcerrors.ResourceExhausted, gcerrors.DeadlineExceeded:
		return true
	}
	return false
}

// statusOf is that of the HTTP answer that an error is about, 0 without one.
func statusOf(err error) int {
	if amazon, is := errors.AsType[interface {
		error
		HTTPStatusCode() int
	}](err); is {
		return amazon.HTTPStatusCode()
	}
	if azure, is := errors.AsType[*azcore.ResponseError](err); is {
		return azure.StatusCode
	}
	if google, is := errors.AsType[*googleapi.Error](err); is {
		return google.Code
	}
	return 0
}

// codeOf is the code of an error. That a name is not resolved, and that reading is forbidden, is taken by some drivers
// for an object that is not there.
func codeOf(err error) gcerrors.ErrorCode {
	if _, unresolved := errors.AsType[*net.DNSError](err); unresolved {
		return gcerrors.Unknown
	}
	if status := statusOf(err); status == http.StatusUnauthorized || status == http.StatusForbidden {
		return gcerrors.PermissionDenied
	}
	return gcerrors.Code(err)
}
