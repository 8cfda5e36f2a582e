//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package disk

func syncDir(string) error { return nil } // a folder cannot be synced there
