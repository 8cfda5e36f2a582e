package cloud

import (
	"errors"
	"io/fs"
	"net"
	"testing"

	"gocloud.dev/blob/memblob"
	"gocloud.dev/gcerrors"
)

// That a name is not resolved may pass, and does not mean that an object is not there, for which Azure's driver takes
// it.
func TestUnresolved(t *testing.T) {
	_, missing := memblob.OpenBucket(nil).Attributes(t.Context(), "x")
	err := errors.Join(missing, &net.DNSError{Err: "no such host", Name: "nowhere.invalid", IsNotFound: true})
	if gcerrors.Code(err) != gcerrors.NotFound || !errors.Is(inTermsOfFiles(missing), fs.ErrNotExist) {
		t.Fatal(err)
	}
	if !passing(err) || errors.Is(inTermsOfFiles(err), fs.ErrNotExist) {
		t.Errorf("it is %v", inTermsOfFiles(err))
	}
}
