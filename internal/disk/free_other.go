//go:build !(darwin || linux)

package disk

// Free is how many bytes may be written to a folder; it is not known there.
func Free(string) (bytes int64, known bool) { return 0, false }
