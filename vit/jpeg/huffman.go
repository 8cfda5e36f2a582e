package jpeg

import "fmt"

// huffmanCode is a code as a file defines it: how many codes there are of each length from 1 to 16, and their symbols
// in ascending order of code.
type huffmanCode struct {
	counts  [16]uint8
	symbols [256]uint8
	defined bool
}

func (d *decoder) readHuffman(body []byte) error {
	for len(body) > 0 {
		if len(body) < 17 {
			return FormatError("bad length of a DHT segment")
		}
		var code huffmanCode
		n := 0
		for i, count := range body[1:17] {
			code.counts[i] = count
			n += int(count)
		}
		class, number := body[0]>>4, body[0]&15
		if class > 1 || number > 3 || n > 256 || len(body) < 17+n {
			return FormatError("bad DHT segment")
		}
		copy(code.symbols[:], body[17:17+n])
		code.defined = true
		d.codes[class][number] = code
		body = body[17+n:]
	}
	return nil
}

// lookahead is the length up to which one look into a table finds a code.
const lookahead = 9

// huffmanTable decodes a huffmanCode.
type huffmanTable struct {
	code huffmanCode

	fast [1 << lookahead]huffmanEntry // by the next bits; 0: the code is longer
	// Of each length: the first 16 bits that start with no code of it or shorter, and the place of the symbol of code
	// 0.
	limit [17]int32
	first [17]int32
}

// huffmanEntry is what bits begin with. From the top: the signed number of 16 bits that follows the code, 0 if it is
// not within the lookahead; the symbol, 8 bits, whose low half is the number's size; and 8 bits for the length of code
// and number.
type huffmanEntry uint32

func (e huffmanEntry) value() int32  { return int32(e) >> 16 }
func (e huffmanEntry) symbol() int   { return int(e >> 8 & 255) }
func (e huffmanEntry) run() int      { return int(e >> 12 & 15) }
func (e huffmanEntry) size() uint32  { return uint32(e >> 8 & 15) }
func (e huffmanEntry) length() uint8 { return uint8(e) }

// table prepares a code for decoding, unless it already is: most files define the same.
func (d *decoder) table(class int, number byte) (*huffmanTable, error) {
	if number > 3 {
		return nil, FormatError(fmt.Sprintf("Huffman table %d", number))
	}
	code := &d.codes[class][number]
	if !code.defined && !d.config.Progressive {
		code = &standardCodes[class][number]
	}
	if !code.defined {
		return nil, FormatError(fmt.Sprintf("Huffman table %d of class %d is missing", number, class))
	}
	t := &d.huffman[class][number]
	if t.code == *code {
		return t, nil
	}
	if err := t.build(code, class == 0); err != nil {
		t.code.defined = false // it is of no use
		return nil, err
	}
	return t, nil
}

func (t *huffmanTable) build(spec *huffmanCode, dc bool) error {
	t.code = *spec
	clear(t.fast[:])
	code, at := int32(0), int32(0)
	for length := int32(1); length <= 16; length++ {
		t.first[length] = at - code
		for range spec.counts[length-1] {
			symbol := spec.symbols[at]
			if dc && symbol > 15 {
				return FormatError(fmt.Sprintf("Huffman symbol %d in a DC table", symbol))
			}
			if length <= lookahead && code < 1<<length {
				t.enter(symbol, uint32(code), uint32(length))
			}
			code++
			at++
		}
		if code >= 1<<length && spec.counts[length-1] > 0 {
			return FormatError("Huffman table with more codes than there can be")
		}
		t.limit[length] = code << (16 - length)
		code <<= 1
	}
	return nil
}

// enter puts a code into the fast table, once for each way in which the bits can go on.
func (t *huffmanTable) enter(symbol uint8, code, length uint32) {
	size := uint32(symbol & 15)
	low := code << (lookahead - length)
	for bits := low; bits < low+1<<(lookahead-length); bits++ {
		e := huffmanEntry(symbol)<<8 | huffmanEntry(length)
		if size > 0 && length+size <= lookahead {
			value := extend(uint64(bits)<<(64-lookahead+length), uint(size))
			e = huffmanEntry(value)<<16 | huffmanEntry(symbol)<<8 | huffmanEntry(length+size)
		}
		t.fast[bits] = e
	}
}

// noCode is what stands for bits that are no code, as libjpeg has it: one bit longer than codes are, with the symbol 0.
const noCode huffmanEntry = 17

// long finds a code that the fast table does not have.
func (t *huffmanTable) long(acc uint64) huffmanEntry {
	next := int32(acc >> 48)
	for length := int32(lookahead + 1); length <= 16; length++ {
		if next < t.limit[length] {
			symbol := t.code.symbols[(t.first[length]+next>>(16-length))&255]
			return huffmanEntry(symbol)<<8 | huffmanEntry(length)
		}
	}
	return noCode
}
