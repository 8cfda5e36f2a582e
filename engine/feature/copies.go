package feature

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/internal/atomicfile"
	"github.com/vitft/vitft/internal/disk"
	"github.com/vitft/vitft/internal/userfile"
)

// largestCopy is how large an image may be of which a copy is kept.
const largestCopy = 32 << 20

// Bytes are those of an item of a set, by the id that the set has for it. They come from a copy in the cache, made when
// they are first asked for, so that what needs a few images again (the check of an exported model, the pictures of a
// report) opens none of the user's. That an image has changed is an error.
func (x *Extractor) Bytes(id store.ID, item dataset.Item) ([]byte, error) {
	if item.Stored() {
		return item.Bytes()
	}
	path := filepath.Join(x.options.Here(), CopiesFolder, hex.EncodeToString(id[:]))
	if content, err := userfile.Read(path, largestCopy); err == nil && sha256.Sum256(content) == id {
		return content, nil
	}
	content, err := item.Bytes()
	if err != nil {
		return nil, err
	}
	if sha256.Sum256(content) != id {
		x.index.Forget(item)
		x.saveIndex()
		return nil, fault.Data.Errorf("%s has changed while it was used; begin anew", item.Path)
	}
	if len(content) <= largestCopy { // without a copy it is read again, no more
		_ = disk.MakeAll(filepath.Dir(path))
		_ = atomicfile.WriteBytes(path, content)
	}
	return content, nil
}
