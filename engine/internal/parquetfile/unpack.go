package parquetfile

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
	"golang.org/x/sync/semaphore"

	"github.com/vitft/vitft/internal/machine"
)

const (
	largestPage = 1 << 30 // unpacked
	copies      = 4       // of a page that are there while it is decoded: packed, unpacked, twice more in the decoder
	together    = 2 << 30 // bytes that all pages that are being decoded take
)

var decoding = semaphore.NewWeighted(together)

// reserve waits for the memory that a page takes, or says that there is too little.
func (f *File) reserve(p page) (done func(), err error) {
	var need int64
	for _, at := range []*place{p.dictionary, &p.at} {
		if at == nil {
			continue
		}
		n := int64(at.header.UncompressedPageSize)
		if n > largestPage {
			return nil, fmt.Errorf("a page of it has %d bytes unpacked; the limit here is %d MiB: write it with "+
				"smaller pages or groups of rows", n, largestPage>>20)
		}
		need += copies * max(n, int64(at.header.CompressedPageSize))
	}
	const perValue = 32
	need += perValue * p.rows
	if err := machine.Check(float64(need), "a page of %d rows", p.rows); err != nil {
		return nil, err
	}
	need = min(need, together)
	if err := decoding.Acquire(context.Background(), need); err != nil {
		return nil, err
	}
	return func() { decoding.Release(need) }, nil
}

// unpack appends a page as it is when it is not compressed.
func (f *File) unpack(to *bytes.Buffer, p place, codec format.CompressionCodec) error {
	packed, err := f.read(p.at, int64(p.header.CompressedPageSize))
	if err != nil {
		return err
	}
	header := *p.header
	if header.CRC != 0 && uint32(header.CRC) != crc32.ChecksumIEEE(packed) {
		return errors.New("damaged: its checksum is another")
	}
	levels := 0 // bytes before the values, which are never compressed
	if v2 := &header.DataPageHeaderV2; header.Type == format.DataPageV2 {
		d, r := int64(v2.V.DefinitionLevelsByteLength), int64(v2.V.RepetitionLevelsByteLength)
		if d < 0 || r < 0 || d+r > int64(len(packed)) {
			return errors.New("damaged: levels without bytes")
		}
		levels = int(d + r)
		if v2.V.IsCompressed.Valid && !v2.V.IsCompressed.V {
			codec = format.Uncompressed
		}
		v2.V.IsCompressed = thrift.New(false)
	}
	size := int(header.UncompressedPageSize) - levels
	if size < 0 {
		return errors.New("damaged: a page without bytes")
	}
	values, err := decompress(codec, packed[levels:], size)
	if err != nil {
		return fmt.Errorf("damaged: %w", err)
	}
	if len(values) != size {
		return fmt.Errorf("damaged: %d bytes unpacked, not %d", len(values), size)
	}
	header.CompressedPageSize, header.CRC = header.UncompressedPageSize, 0
	text, err := thrift.Marshal(new(thrift.CompactProtocol), &header)
	if err != nil {
		return err
	}
	to.Grow(len(text) + levels + len(values))
	to.Write(text)
	to.Write(packed[:levels])
	to.Write(values)
	return nil
}

// decompress unpacks what should be of that size. It takes no more memory than twice what there is, whatever is said.
func decompress(codec format.CompressionCodec, packed []byte, size int) ([]byte, error) {
	switch codec {
	case format.Uncompressed:
		return packed, nil
	case format.Snappy:
		if n, err := snappy.DecodedLen(packed); err != nil {
			return nil, err
		} else if n != size || n > mostSnappy*len(packed) {
			return nil, fmt.Errorf("%d bytes are said to unpack to %d, and to %d", len(packed), size, n)
		}
		return snappy.Decode(nil, packed)
	case format.Lz4Raw:
		if size > mostLZ4*len(packed) {
			return nil, fmt.Errorf("%d bytes are said to unpack to %d", len(packed), size)
		}
		values := make([]byte, size)
		n, err := lz4.UncompressBlock(packed, values)
		if err != nil {
			return nil, err
		}
		return values[:n], nil
	case format.Gzip:
		r, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			return nil, err
		}
		return all(r, size)
	case format.Zstd:
		r, err := zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return all(r, size)
	case format.Brotli:
		return all(brotli.NewReader(bytes.NewReader(packed)), size)
	}
	return nil, fmt.Errorf("compressed with %s, which is not read here; write it with snappy or zstd", codec)
}

// The largest factors by which formats can shrink.
const (
	mostSnappy = 32
	mostLZ4    = 256
)

// all is what comes from r, of which more than size is not read.
func all(r io.Reader, size int) ([]byte, error) {
	var out bytes.Buffer
	_, err := io.Copy(&out, io.LimitReader(r, int64(size)+1))
	return out.Bytes(), err
}
