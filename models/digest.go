package models

import (
	"cmp"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/vitft/vitft/internal/userfile"
)

// digest identifies a file's content the way the hub does: large files (LFS) by their SHA-256, the others by the SHA-1
// of the git blob.
type digest string // lower-case hex; the length tells which

// parseDigest reads an entity tag. That of any other server is no digest.
func parseDigest(etag string) (digest, bool) {
	d := digest(strings.Trim(strings.TrimPrefix(etag, "W/"), `"`))
	b, err := hex.DecodeString(string(d))
	return d, err == nil && (len(b) == sha256.Size || len(b) == sha1.Size) && string(d) == strings.ToLower(string(d))
}

func (d digest) String() string {
	if len(d) == 2*sha1.Size {
		return "git-sha1:" + string(d)
	}
	return "sha256:" + string(d)
}

// UnmarshalText reads what String and MarshalText write.
func (d *digest) UnmarshalText(text []byte) error {
	_, value, _ := strings.Cut(string(text), ":")
	parsed, ok := parseDigest(value)
	if !ok || parsed.String() != string(text) {
		return fmt.Errorf("%q is no digest such as sha256:…", text)
	}
	*d = parsed
	return nil
}

// MarshalText is String.
func (d digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// matches reads the file at path to see whether its content has this digest.
func (d digest) matches(ctx context.Context, path string) (bool, error) {
	f, info, err := userfile.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	h := sha256.New()
	if len(d) == 2*sha1.Size {
		h = sha1.New()
		fmt.Fprintf(h, "blob %d\x00", info.Size())
	}
	defer context.AfterFunc(ctx, func() { _ = f.Close() })() // which ends the reading
	if _, err := io.Copy(h, f); err != nil || ctx.Err() != nil {
		return false, cmp.Or(ctx.Err(), err)
	}
	return hex.EncodeToString(h.Sum(nil)) == string(d), nil
}
