package dataset

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"github.com/vitft/vitft/internal/machine"
	"github.com/vitft/vitft/internal/userfile"
)

// zipFile is a zip archive. Its directory is in memory, its members are not.
type zipFile struct {
	file
	members []*zip.File
	names   []string // of the members, in UTF-8 and with slashes
	dos     []string // names that are not UTF-8, as they were read
	at      func() map[string]int
}

// perMember is the memory that an entry of a zip archive takes for each byte of the directory.
const perMember = 12

// openZip reads the directory of an archive.
func openZip(f file) (*zipFile, error) {
	z := &zipFile{file: f}
	directory := &bounded{ReaderAt: &z.file, left: machine.Memory() / perMember, reading: true}
	r, err := zip.NewReader(directory, f.size())
	if err != nil {
		return nil, fmt.Errorf("no sound zip archive: %w", err)
	}
	directory.reading = false
	z.members = r.File
	z.names = make([]string, len(r.File))
	for i, m := range r.File {
		name := m.Name
		if !utf8.ValidString(name) { // what marks names as UTF-8 is often missing where they are
			name, _ = charmap.CodePage437.NewDecoder().String(name)
			z.dos = append(z.dos, name)
		}
		z.names[i] = strings.ReplaceAll(name, `\`, "/")
	}
	z.at = byName(len(z.names), func(i int) string { return z.names[i] })
	return z, nil
}

func (z *zipFile) find(name string) (int, bool) {
	i, found := z.at()[name]
	return i, found
}

// readZip reads an archive of class folders.
func (a *archives) readZip(f file) error {
	z, err := openZip(f)
	if err != nil {
		return err
	}
	a.decoded = append(a.decoded, z.dos...)
	return a.readClassFolders(z, z.list(), z.sound)
}

func (z *zipFile) list() []member {
	members := make([]member, 0, len(z.names))
	for i, m := range z.members {
		if mode := m.Mode(); !mode.IsDir() {
			members = append(members, member{z.names[i], i, mode.IsRegular()})
		}
	}
	return members
}

// methods of compression that zip archives are met with.
var methods = map[uint16]string{1: "Shrink", 6: "Implode", 9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard",
	95: "xz", 98: "PPMd", 99: "AES"}

// sound refuses a member that cannot be read.
func (z *zipFile) sound(i int) error {
	const encrypted, cure = 0x1, "unpack the archive, or pack it anew with deflate"
	switch m := z.members[i]; {
	case m.Flags&encrypted != 0 || m.Method == 99:
		return fmt.Errorf("%s is encrypted; unpack the archive with its password", z.names[i])
	case m.Method != zip.Store && m.Method != zip.Deflate:
		name := methods[m.Method]
		if name == "" {
			name = "one of an unknown kind"
		}
		return fmt.Errorf("%s is compressed by method %d, %s; %s", z.names[i], m.Method, name, cure)
	}
	return nil
}

// image unpacks a member in memory.
func (z *zipFile) image(i int) ([]byte, error) {
	content, err := z.unpack(i)
	if err != nil {
		return nil, fmt.Errorf("member %s of %s: %w", z.names[i], z.path, err)
	}
	return content, nil
}

func (z *zipFile) unpack(i int) ([]byte, error) {
	m := z.members[i]
	if err := z.sound(i); err != nil {
		return nil, err
	}
	if m.UncompressedSize64 > userfile.Image {
		return nil, fmt.Errorf("has %d bytes; the limit here is %d MiB", m.UncompressedSize64, userfile.Image>>20)
	}
	at, err := m.DataOffset()
	if err != nil {
		return nil, err
	}
	content, err := z.part(at, int64(min(m.CompressedSize64, userfile.Image+1)))
	if err != nil {
		return nil, err
	}
	if m.Method == zip.Deflate {
		most := min(int64(m.UncompressedSize64), deflateMost*int64(len(content)))
		r := flate.NewReader(bytes.NewReader(content))
		if content, err = filled(r, most); err != nil {
			return nil, err
		}
	}
	switch {
	case uint64(len(content)) != m.UncompressedSize64:
		return nil, fmt.Errorf("has %d bytes, not %d as the archive's directory says", len(content),
			m.UncompressedSize64)
	case m.CRC32 != crc32.ChecksumIEEE(content):
		return nil, fmt.Errorf("damaged: its checksum is not what the archive's directory says")
	}
	return content, nil
}

// filled is what comes from r, and one byte more than most at most.
func filled(r io.Reader, most int64) ([]byte, error) {
	content := make([]byte, most+1)
	n, err := io.ReadFull(r, content)
	if err == io.EOF || err == io.ErrUnexpectedEOF && n > 0 {
		err = nil
	}
	return content[:n], err
}

// bounded gives no more than is left while it is reading.
type bounded struct {
	io.ReaderAt
	left    int64
	reading bool
}

func (b *bounded) ReadAt(p []byte, at int64) (int, error) {
	if b.reading {
		if b.left -= int64(len(p)); b.left < 0 {
			return 0, errors.New("its directory takes more memory than there is")
		}
	}
	return b.ReaderAt.ReadAt(p, at)
}
