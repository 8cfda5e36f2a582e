package store

import (
	"errors"

	"github.com/vitft/vitft/internal/machine"
)

// mapped are the blocks that are mapped, those first that were first. Mapping one anew is quick, but all of a large
// store would take its size in address space, and more mappings than systems allow for.
type mapped struct {
	blocks []*block
	bytes  int64
	most   int64 // bytes; one block there may always be
}

// mostBlocks is a quarter of the mappings that Linux allows a process.
const mostBlocks = 1 << 14

// most is an eighth of the memory.
func most() int64 { return machine.Memory() / 8 }

// add notes that a block is mapped, and lets go of others if there are too many now. Nobody may read them meanwhile.
func (m *mapped) add(b *block) error {
	m.blocks, m.bytes = append(m.blocks, b), m.bytes+b.bytes
	var errs []error
	for len(m.blocks) > 1 && (m.bytes > m.most || len(m.blocks) > mostBlocks) {
		first := m.blocks[0]
		m.blocks, m.bytes = m.blocks[1:], m.bytes-first.bytes
		errs = append(errs, first.object.Close())
		first.content = nil
	}
	return errors.Join(errs...)
}
