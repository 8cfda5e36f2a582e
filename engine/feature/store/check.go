package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/vitft/vitft/engine/feature/bucket"
	"github.com/vitft/vitft/engine/safetensors"
)

// Check reads the folder of a key as a whole, whichever key it is, and says how many blocks there are and which are
// damaged, key.json and the indices of blocks among them. If mend is true these are set aside, as opening the store
// does: what was in them is encoded again when it is needed. What merely cannot be read may be sound and keeps its
// name; in an object store that is an error.
func Check(ctx context.Context, b bucket.Bucket, folder string, mend bool) (blocks int, bad []BadBlock, err error) {
	names, err := b.List(ctx, folder+"/")
	if err != nil {
		return 0, nil, err
	}
	report := func(name string, why error) {
		damaged := errors.Is(why, errCorrupt) || errors.Is(why, errKeyFile)
		if mend && damaged && b.SetAside(ctx, name) == nil {
			name += bucket.Aside
		}
		bad = append(bad, BadBlock{Path: b.Where(name), Err: why})
	}
	var want *form
	keyName := path.Join(folder, keyFile)
	switch key, err := readKey(ctx, b, keyName); {
	case errors.Is(err, errKeyFile):
		report(keyName, err)
	case err == nil && key.Hash() != folder:
		report(keyName, fmt.Errorf("%w: it is of the key %s", errKeyFile, key.Hash()))
	case err == nil:
		form := key.form()
		want = &form
	case bucket.Remote(b) && !errors.Is(err, fs.ErrNotExist):
		return 0, nil, err
	}
	for _, name := range names {
		if !strings.HasSuffix(name, blockSuffix) {
			continue
		}
		blocks++
		ids, err := checkBlock(ctx, b, name, folder, want)
		if _, indexed := slices.BinarySearch(names, name+indexSuffix); indexed && err == nil && want != nil {
			if err = checkIndex(ctx, b, name, ids, *want); errors.Is(err, errCorrupt) {
				name += indexSuffix
			}
		}
		switch {
		case ctx.Err() != nil:
			return blocks, bad, ctx.Err()
		case errors.Is(err, fs.ErrNotExist): // it is gone meanwhile
		case err != nil && bucket.Remote(b) && !errors.Is(err, errCorrupt):
			return blocks, bad, err
		case err != nil:
			report(name, err)
		}
	}
	return blocks, bad, nil
}

// KeyOf is the key of a folder, which must be its own.
func KeyOf(ctx context.Context, b bucket.Bucket, folder string) (Key, error) {
	key, err := readKey(ctx, b, path.Join(folder, keyFile))
	if err == nil && key.Hash() != folder {
		err = fmt.Errorf("%w: it is of the key %s", errKeyFile, key.Hash())
	}
	return key, err
}

// checkBlock checks a block of a key or, if that is not known, of any that has this folder, and tells its ids.
func checkBlock(ctx context.Context, b bucket.Bucket, name, folder string, want *form) ([]ID, error) {
	o, err := b.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	data, err := bucket.Content(o)
	if err != nil {
		return nil, err
	}
	ids, err := checkContent(data, folder, want)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	return slices.Clone(ids), nil
}

func checkContent(data []byte, folder string, want *form) ([]ID, error) {
	if want == nil {
		f, err := safetensors.Parse(data)
		if err != nil {
			return nil, err
		}
		features, err := f.Tensor(tensorFeatures)
		if err != nil || len(features.Shape) != 2 || !strings.HasPrefix(f.Metadata[metaKey], folder) {
			return nil, fmt.Errorf("it is no block of the key %s", folder)
		}
		want = &form{f.Metadata[metaKey], features.Shape[1], features.DType}
	}
	ids, r, err := parse(data, *want, true)
	if i := r.notFinite(); err == nil && i >= 0 {
		err = fmt.Errorf("value %d is not finite", i)
	}
	return ids, err
}

// checkIndex checks that the index of a block has its ids.
func checkIndex(ctx context.Context, b bucket.Bucket, block string, ids []ID, want form) error {
	found, err := openIndexed(ctx, b, block, want)
	if err == nil && !slices.Equal(found.ids, ids) {
		err = fmt.Errorf("%w: it has other ids than the block", errCorrupt)
	}
	return err
}
