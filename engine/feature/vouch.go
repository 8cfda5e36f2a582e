package feature

import (
	"path/filepath"

	"github.com/vitft/vitft/engine/feature/store"
	"github.com/vitft/vitft/internal/atomicfile"
	"github.com/vitft/vitft/internal/disk"
	"github.com/vitft/vitft/internal/userfile"
)

// Vouch notes that a model.onnx with that SHA-256 has the very nodes of the backbone, so that what it makes later may
// be kept as features of that. Without the note they are kept apart.
func (x *Extractor) Vouch(sum string) {
	path := filepath.Join(x.options.Here(), ExportedFolder, sum)
	if disk.MakeAll(filepath.Dir(path)) == nil {
		_ = atomicfile.WriteBytes(path, []byte(vouched(x.backbone.Key())+"\n"))
	}
}

// Vouched says whether a model.onnx is known to have the nodes of the backbone of a key. A run folder says so too, but
// may be of others, who could put any model in it: its features would be taken for those of the backbone ever after.
func Vouched(cache, sum string, key store.Key) bool {
	note, err := userfile.Read(filepath.Join(cache, ExportedFolder, sum), userfile.Small)
	return err == nil && string(note) == vouched(key)+"\n"
}

// vouched identifies a key wherever it runs.
func vouched(key store.Key) string {
	key.Provider, key.View, key.Dim = "", "", 0
	return key.Full()
}
