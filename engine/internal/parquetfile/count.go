package parquetfile

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	mostElements = 2_000_000 // of lists in a footer, each of which takes some 300 bytes when it is decoded
	deepest      = 32
)

// count refuses a footer, a structure in Thrift's compact protocol, that claims more than its bytes can hold, or that
// would take much memory to decode.
func count(footer []byte) error {
	c := counter{rest: footer, left: mostElements}
	return c.structure(0)
}

type counter struct {
	rest []byte
	left int
}

var errShort = errors.New("it is cut short")

func (c *counter) skip(n uint64) error {
	if n > uint64(len(c.rest)) {
		return errShort
	}
	c.rest = c.rest[n:]
	return nil
}

func (c *counter) byte() (byte, error) {
	if len(c.rest) == 0 {
		return 0, errShort
	}
	b := c.rest[0]
	c.rest = c.rest[1:]
	return b, nil
}

func (c *counter) varint() (uint64, error) {
	v, n := binary.Uvarint(c.rest)
	if n <= 0 {
		return 0, errShort
	}
	return v, c.skip(uint64(n))
}

func (c *counter) structure(depth int) error {
	if depth > deepest {
		return errors.New("it is nested too deep")
	}
	for {
		head, err := c.byte()
		if err != nil || head == 0 {
			return err
		}
		if head>>4 == 0 { // the number of the field follows
			if _, err := c.varint(); err != nil {
				return err
			}
		}
		if kind := head & 0xf; kind > 2 { // else it is true or false
			if err := c.value(kind, depth); err != nil {
				return err
			}
		}
	}
}

func (c *counter) value(kind byte, depth int) error {
	switch kind {
	case 1, 2, 3:
		return c.skip(1)
	case 4, 5, 6:
		_, err := c.varint()
		return err
	case 7:
		return c.skip(8)
	case 8:
		n, err := c.varint()
		if err != nil {
			return err
		}
		return c.skip(n)
	case 9, 10:
		head, err := c.byte()
		n := uint64(head >> 4)
		if n == 15 && err == nil {
			n, err = c.varint()
		}
		if err != nil {
			return err
		}
		return c.elements(n, depth, head&0xf)
	case 11:
		n, err := c.varint()
		if err != nil || n == 0 {
			return err
		}
		kinds, err := c.byte()
		if err != nil {
			return err
		}
		return c.elements(n, depth, kinds>>4, kinds&0xf)
	case 12:
		return c.structure(depth + 1)
	}
	return fmt.Errorf("a value in it is of no known kind (%d)", kind)
}

// elements are n times values of those kinds.
func (c *counter) elements(n uint64, depth int, kinds ...byte) error {
	if n > uint64(len(c.rest)) {
		return fmt.Errorf("it claims a list of %d elements in %d bytes", n, len(c.rest))
	}
	if c.left -= int(n); c.left < 0 {
		return fmt.Errorf("it has more than %d parts", mostElements)
	}
	if depth > deepest {
		return errors.New("it is nested too deep")
	}
	for range n {
		for _, kind := range kinds {
			if err := c.value(kind, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}
