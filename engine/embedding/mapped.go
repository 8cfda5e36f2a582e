package embedding

import (
	"encoding/binary"
	"fmt"
	"os"
	"unsafe"

	"github.com/edsrzf/mmap-go"

	"github.com/vitft/vitft/internal/machine"
)

// mapped is n float32 numbers from an offset of a file on, as they lie there: none of them is in memory before it is
// asked for, and it can be let go of at any time. It is for what does not fit into memory, and stays mapped, as tables
// stay for as long as a run; a program that cuts the file short meanwhile crashes this one.
func mapped(f *os.File, at int64, n int) ([]float32, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if end := at + 4*int64(n); end > info.Size() {
		return nil, fmt.Errorf("its header promises %d bytes, it has %d", end, info.Size())
	}
	all, err := mmap.Map(f, mmap.RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("mapping it, since it does not fit into memory: %w", err)
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&all[at])), n), nil
}

// mappable says whether n numbers at an offset of a file are to be mapped: there is no memory for them and, in the
// order of learning, once more, and they lie there as memory has them.
func mappable(at int64, n int) bool {
	little := binary.NativeEndian.Uint16([]byte{1, 0}) == 1
	return little && at%4 == 0 && n > 0 && 8*float64(n) > float64(machine.Memory())
}
