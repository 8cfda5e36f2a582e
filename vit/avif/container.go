package avif

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Config is what the head of a file tells.
type Config struct {
	Width, Height int
	Deep          bool // more than 8 bits a sample
	Orientation   int  // 1 to 8, as EXIF counts: what the boxes irot and imir ask for
	Exif, XMP     []byte
	coded         int // pixels that are decoded, those of all tiles
}

// An UnsupportedError names a valid feature that this package does not read.
type UnsupportedError string

func (e UnsupportedError) Error() string { return "avif: " + string(e) + " is not supported" }

// A FormatError says how data break the format's rules.
type FormatError string

func (e FormatError) Error() string { return "avif: " + string(e) }

// item is one entry of a file: a picture, a grid of pictures, or what belongs to one.
type item struct {
	kind, content string
	extents       [][2]uint64 // places and lengths
	inside        bool        // places are within the box idat
	properties    []int       // numbers, from 1
}

// file is what the box meta says.
type file struct {
	data       []byte
	idat       []byte
	primary    uint32
	items      map[uint32]*item
	refs       []reference
	properties []box
}

type reference struct {
	kind string
	from uint32
	to   []uint32
}

// colours is what a box colr says, or the sequence of pictures where there is none.
type colours struct {
	primaries, matrix int
	full              bool
	known             bool
}

// picture is a picture to decode: one, or tiles in rows.
type picture struct {
	config        Config
	tiles         []uint32 // items
	columns, rows int
	tileW, tileH  int
	colours       colours
	alpha         bool
}

var errShort = fmt.Errorf("avif: a box is cut off: %w", io.ErrUnexpectedEOF)

// box is a box's type and content.
type box struct {
	kind string
	body []byte
}

// maxBoxes is more boxes, items, references and tiles than any picture has.
const maxBoxes = 1 << 16

// boxes splits data into boxes. The last may reach to the end of the file, and be cut off.
func boxes(data []byte) (all []box, err error) {
	for len(data) >= 8 && len(all) < maxBoxes {
		size, head := uint64(binary.BigEndian.Uint32(data)), uint64(8)
		switch size {
		case 0:
			size = uint64(len(data))
		case 1:
			if len(data) < 16 {
				return all, errShort
			}
			size, head = binary.BigEndian.Uint64(data[8:]), 16
		}
		if size < head {
			return all, FormatError(fmt.Sprintf("box %q of %d bytes", data[4:8], size))
		}
		end := min(size, uint64(len(data)))
		all = append(all, box{string(data[4:8]), data[head:max(head, end)]})
		if data = data[end:]; end < size {
			return all, nil
		}
	}
	return all, nil
}

// cursor reads numbers from a box. Past the end it gives zeros and remembers.
type cursor struct {
	b     []byte
	short bool
}

func (c *cursor) number(size int) (v uint64) {
	if len(c.b) < size {
		c.b, c.short = nil, true
		return 0
	}
	for _, b := range c.b[:size] {
		v = v<<8 | uint64(b)
	}
	c.b = c.b[size:]
	return v
}

func (c *cursor) text() string {
	s, _, _ := strings.Cut(string(c.b[:min(len(c.b), 256)]), "\x00")
	c.b = c.b[min(len(c.b), len(s)+1):]
	return s
}

// parse reads the boxes that describe the still picture.
func parse(data []byte) (*file, error) {
	top, err := boxes(data)
	if err != nil {
		return nil, err
	}
	f := &file{data: data, items: map[uint32]*item{}}
	at := slices.IndexFunc(top, func(b box) bool { return b.kind == "meta" })
	if at < 0 {
		if slices.ContainsFunc(top, func(b box) bool { return b.kind == "moov" }) {
			return nil, UnsupportedError("a sequence without a still picture")
		}
		return nil, errShort
	}
	if len(top[at].body) < 4 {
		return nil, errShort
	}
	inside, err := boxes(top[at].body[4:])
	if err != nil {
		return nil, err
	}
	for _, b := range inside {
		c := &cursor{b: b.body}
		switch b.kind {
		case "idat":
			f.idat = b.body
			continue
		case "pitm":
			size := 2
			if c.number(1) > 0 {
				size = 4
			}
			c.number(3)
			f.primary = uint32(c.number(size))
		case "iloc":
			f.readLocations(c)
		case "iinf":
			f.readItems(c)
		case "iref":
			f.readReferences(c)
		case "iprp":
			if err := f.readProperties(b.body); err != nil {
				return nil, err
			}
		}
		if c.short {
			return nil, errShort
		}
	}
	return f, nil
}

func (f *file) item(id uint32) *item {
	if f.items[id] == nil {
		f.items[id] = new(item)
	}
	return f.items[id]
}

func (f *file) readLocations(c *cursor) {
	version := c.number(1)
	c.number(3)
	sizes := c.number(2)
	offset, length, base, index := int(sizes>>12), int(sizes>>8&15), int(sizes>>4&15), int(sizes&15)
	idSize := 2
	if version == 2 {
		idSize = 4
	}
	for range c.number(idSize) {
		it := f.item(uint32(c.number(idSize)))
		if version > 0 {
			it.inside = c.number(2)&15 == 1
		}
		c.number(2) // another file
		from := c.number(min(base, 8))
		for range c.number(2) {
			if version > 0 {
				c.number(min(index, 8))
			}
			place := from + c.number(min(offset, 8))
			it.extents = append(it.extents, [2]uint64{place, c.number(min(length, 8))})
			if c.short || len(f.items) > maxBoxes {
				return
			}
		}
		if c.short {
			return
		}
	}
}

func (f *file) readItems(c *cursor) {
	size := 2
	if c.number(1) > 0 {
		size = 4
	}
	c.number(3)
	c.number(size)
	entries, err := boxes(c.b)
	if c.short = c.short || err != nil; c.short {
		return
	}
	for _, e := range entries {
		ec := &cursor{b: e.body}
		version := ec.number(1)
		ec.number(3)
		idSize := 2
		if version == 3 {
			idSize = 4
		}
		it := f.item(uint32(ec.number(idSize)))
		ec.number(2)
		kind := binary.BigEndian.AppendUint32(nil, uint32(ec.number(4)))
		if it.kind = string(kind); it.kind == "mime" {
			ec.text()
			it.content = ec.text()
		}
	}
}

func (f *file) readReferences(c *cursor) {
	size := 2
	if c.number(1) > 0 {
		size = 4
	}
	c.number(3)
	refs, err := boxes(c.b)
	if c.short = c.short || err != nil; c.short {
		return
	}
	for _, r := range refs {
		rc := &cursor{b: r.body}
		ref := reference{kind: r.kind, from: uint32(rc.number(size))}
		for range rc.number(2) {
			if ref.to = append(ref.to, uint32(rc.number(size))); rc.short {
				break
			}
		}
		f.refs = append(f.refs, ref)
	}
}

func (f *file) readProperties(body []byte) error {
	parts, err := boxes(body)
	if err != nil {
		return err
	}
	for _, p := range parts {
		switch p.kind {
		case "ipco":
			if f.properties, err = boxes(p.body); err != nil {
				return err
			}
		case "ipma":
			c := &cursor{b: p.body}
			idSize, size := 2, 1
			if c.number(1) > 0 {
				idSize = 4
			}
			if c.number(3)&1 != 0 {
				size = 2
			}
			for range c.number(4) {
				it := f.item(uint32(c.number(idSize)))
				for range c.number(1) {
					essential := 8*size - 1
					it.properties = append(it.properties, int(c.number(size)&(1<<essential-1)))
				}
				if c.short {
					return errShort
				}
			}
		}
	}
	return nil
}

// property is the content of an item's property of a kind, nil if it has none.
func (f *file) property(id uint32, kind string) []byte {
	if it := f.items[id]; it != nil {
		for _, n := range it.properties {
			if n >= 1 && n <= len(f.properties) && f.properties[n-1].kind == kind {
				return f.properties[n-1].body
			}
		}
	}
	return nil
}

// content is the bytes of an item.
func (f *file) content(id uint32) (content []byte, err error) {
	it := f.items[id]
	if it == nil || len(it.extents) == 0 {
		return nil, FormatError(fmt.Sprintf("item %d is nowhere", id))
	}
	from := f.data
	if it.inside {
		from = f.idat
	}
	for i, e := range it.extents {
		at, n := e[0], e[1]
		if at > uint64(len(from)) || n > uint64(len(from))-at {
			return nil, fmt.Errorf("avif: item %d is cut off: %w", id, io.ErrUnexpectedEOF)
		}
		if n == 0 { // the rest
			n = uint64(len(from)) - at
		}
		if i == 0 {
			content = from[at : at+n : at+n]
		} else if content = append(content, from[at:at+n]...); len(content) > len(f.data) {
			return nil, FormatError(fmt.Sprintf("item %d is larger than the file", id))
		}
	}
	return content, nil
}

func (f *file) size(id uint32) (w, h int, err error) {
	c := &cursor{b: f.property(id, "ispe")}
	c.number(4)
	if w, h = int(c.number(4)), int(c.number(4)); c.short {
		return 0, 0, FormatError(fmt.Sprintf("item %d has no size", id))
	}
	return w, h, nil
}

// picture describes the primary item.
func (f *file) picture() (p picture, err error) {
	it := f.items[f.primary]
	if it == nil {
		return p, FormatError("no primary picture")
	}
	if p.config.Width, p.config.Height, err = f.size(f.primary); err != nil {
		return p, err
	}
	p.tileW, p.tileH, p.columns, p.rows = p.config.Width, p.config.Height, 1, 1
	switch it.kind {
	case "av01":
		p.tiles = []uint32{f.primary}
	case "grid":
		if err := f.readGrid(&p); err != nil {
			return p, err
		}
	default:
		return p, UnsupportedError(fmt.Sprintf("a picture of type %q", it.kind))
	}
	p.config.coded = p.tileW * p.tileH * len(p.tiles)
	if c := f.property(p.tiles[0], "av1C"); len(c) >= 3 {
		p.config.Deep = c[2]&0x40 != 0
	}
	for _, id := range []uint32{f.primary, p.tiles[0]} {
		if c := f.property(id, "colr"); len(c) >= 11 && string(c[:4]) == "nclx" {
			p.colours = colours{int(binary.BigEndian.Uint16(c[4:])), int(binary.BigEndian.Uint16(c[8:])),
				c[10]&0x80 != 0, true}
			break
		}
	}
	p.config.Orientation = f.orientation()
	for _, r := range f.refs {
		if !slices.Contains(r.to, f.primary) && !slices.Contains(r.to, p.tiles[0]) {
			continue
		}
		switch from := f.items[r.from]; {
		case from == nil:
		case r.kind == "auxl":
			what := string(f.property(r.from, "auxC"))
			p.alpha = p.alpha || strings.Contains(what, "alpha") || strings.Contains(what, "auxid:1")
		case r.kind == "cdsc" && from.kind == "Exif":
			if exif, err := f.content(r.from); err == nil && len(exif) >= 4 {
				skip := min(uint64(binary.BigEndian.Uint32(exif))+4, uint64(len(exif)))
				p.config.Exif = exif[skip:]
			}
		case r.kind == "cdsc" && from.content == "application/rdf+xml":
			p.config.XMP, _ = f.content(r.from)
		}
	}
	return p, nil
}

func (f *file) readGrid(p *picture) error {
	body, err := f.content(f.primary)
	if err != nil {
		return err
	}
	c := &cursor{b: body}
	c.number(1)
	size := 2
	if c.number(1)&1 != 0 {
		size = 4
	}
	p.rows, p.columns = int(c.number(1))+1, int(c.number(1))+1
	w, h := int(c.number(size)), int(c.number(size))
	for _, r := range f.refs {
		if r.kind == "dimg" && r.from == f.primary {
			p.tiles = r.to
		}
	}
	if c.short || w != p.config.Width || h != p.config.Height || len(p.tiles) != p.rows*p.columns {
		return FormatError(fmt.Sprintf("a grid of %d×%d pictures and %d×%d pixels has %d pictures and %d×%d pixels",
			p.columns, p.rows, w, h, len(p.tiles), p.config.Width, p.config.Height))
	}
	if p.tileW, p.tileH, err = f.size(p.tiles[0]); err != nil {
		return err
	}
	if p.tileW < 1 || p.tileH < 1 || p.tileW*p.columns < w || p.tileH*p.rows < h || p.tileW > w || p.tileH > h {
		return FormatError(fmt.Sprintf("a grid of %d×%d pictures of %d×%d pixels for %d×%d", p.columns, p.rows,
			p.tileW, p.tileH, w, h))
	}
	return nil
}

// orientation is what irot, turns to the left, and then imir, a mirror, come to.
func (f *file) orientation() int {
	turns, mirror := 0, -1
	if b := f.property(f.primary, "irot"); len(b) > 0 {
		turns = int(b[0] & 3)
	}
	if b := f.property(f.primary, "imir"); len(b) > 0 {
		mirror = int(b[0] & 1)
	}
	switch mirror {
	case 0: // top and bottom are swapped
		return []int{4, 5, 2, 7}[turns]
	case 1: // left and right are
		return []int{2, 7, 4, 5}[turns]
	}
	return []int{1, 8, 3, 6}[turns]
}
