package vit

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// foreign is what a file is that is no image which is read: its name and what helps.
type foreign struct{ what, cure string }

const (
	toJPEG  = "convert it to JPEG or PNG"
	export  = "export it as JPEG or TIFF"
	aFrame  = "extract frames as JPEG or PNG"
	again   = "fetch the file again"
	unpack  = "unpack it"
	noImage = "remove it or put an image in its place"
)

// beginnings tell files apart by the bytes that they begin with.
var beginnings = []struct {
	at     int
	prefix string
	foreign
}{
	{0, "\xff\x0a", foreign{"JPEG XL", toJPEG}},
	{0, "\x00\x00\x00\x0cJXL \r\n\x87\n", foreign{"JPEG XL", toJPEG}},
	{0, "\x00\x00\x00\x0cjP  \r\n\x87\n", foreign{"JPEG 2000", toJPEG}},
	{0, "\xff\x4f\xff\x51", foreign{"JPEG 2000", toJPEG}},
	{0, "II\xbc", foreign{"JPEG XR", toJPEG}},
	{0, "8BPS", foreign{"a Photoshop document (PSD)", export}},
	{0, "gimp xcf", foreign{"a GIMP document (XCF)", export}},
	{0, "\x00\x00\x01\x00", foreign{"an icon (ICO)", toJPEG}},
	{0, "\x00\x00\x02\x00\x00\x00", foreign{"Targa (TGA)", toJPEG}},
	{0, "\x00\x00\x0a\x00\x00\x00", foreign{"Targa (TGA)", toJPEG}},
	{0, "\x00\x00\x03\x00\x00\x00", foreign{"Targa (TGA)", toJPEG}},
	{0, "\x00\x01\x01\x00\x00", foreign{"Targa (TGA)", toJPEG}},
	{0, "\x00\x00\x02\x00", foreign{"a cursor (CUR)", toJPEG}},
	{0, "\x0a\x05\x01", foreign{"PCX", toJPEG}}, {0, "\x01\xda", foreign{"SGI", toJPEG}},
	{0, "\x59\xa6\x6a\x95", foreign{"a Sun raster", toJPEG}},
	{0, "/* XPM */", foreign{"a pixmap as a C program (XPM)", toJPEG}},
	{0, "id=ImageMagick", foreign{"ImageMagick's own format (MIFF)", toJPEG}},
	{0, "icns", foreign{"an icon (ICNS)", toJPEG}},
	{0, "DDS ", foreign{"a DirectDraw surface (DDS)", toJPEG}},
	{0, "v/1\x01", foreign{"OpenEXR", toJPEG}},
	{0, "#?RADIANCE", foreign{"Radiance HDR", toJPEG}},
	{0, "qoif", foreign{"QOI", toJPEG}},
	{0, "BPG\xfb", foreign{"BPG", toJPEG}},
	{0, "FLIF", foreign{"FLIF", toJPEG}},
	{0, "P7\n", foreign{"a portable arbitrary map (PAM)", toJPEG}},
	{0, "PF\n", foreign{"a portable floatmap in colour (PFM)", toJPEG}},
	{0, "\x8aMNG\r\n\x1a\n", foreign{"MNG", toJPEG}},
	{0, "\x8bJNG\r\n\x1a\n", foreign{"JNG", toJPEG}},
	{0, "SIMPLE  =", foreign{"FITS", toJPEG}},
	{128, "DICM", foreign{"DICOM", toJPEG}},
	{0, "FUJIFILMCCD-RAW", foreign{"a raw photo (RAF)", export}},
	{0, "IIRO", foreign{"a raw photo (ORF)", export}}, {0, "IIRS", foreign{"a raw photo (ORF)", export}},
	{0, "MMOR", foreign{"a raw photo (ORF)", export}}, {0, "IIU\x00", foreign{"a raw photo (RW2)", export}},
	{0, "FOVb", foreign{"a raw photo (X3F)", export}}, {0, "\x00MRM", foreign{"a raw photo (MRW)", export}},
	{6, "HEAPCCDR", foreign{"a raw photo (CRW)", export}},
	{0, "%PDF-", foreign{"a PDF document", "render its pages as JPEG or PNG"}},
	{0, "%!PS", foreign{"PostScript", "render it as JPEG or PNG"}},
	{0, "\xc5\xd0\xd3\xc6", foreign{"PostScript (EPS)", "render it as JPEG or PNG"}},
	{0, "\xd7\xcd\xc6\x9a", foreign{"a Windows metafile (WMF)", "render it as PNG"}},
	{40, " EMF", foreign{"a Windows metafile (EMF)", "render it as PNG"}},
	{0, "\x1aE\xdf\xa3", foreign{"a video (Matroska, WebM)", aFrame}},
	{8, "AVI ", foreign{"a video (AVI)", aFrame}},
	{8, "WAVE", foreign{"a sound (WAV)", noImage}},
	{0, "\x00\x00\x01\xba", foreign{"a video (MPEG)", aFrame}},
	{0, "\x00\x00\x01\xb3", foreign{"a video (MPEG)", aFrame}},
	{0, "FLV\x01", foreign{"a video (FLV)", aFrame}}, {0, "OggS", foreign{"a video or sound (Ogg)", aFrame}},
	{0, "\x30\x26\xb2\x75", foreign{"a video (WMV)", aFrame}}, {0, "ID3", foreign{"a sound (MP3)", noImage}},
	{0, "PK\x03\x04", foreign{"a zip archive (or a document that is one)", unpack}},
	{0, "PK\x05\x06", foreign{"an empty zip archive", noImage}},
	{0, "\x1f\x8b", foreign{"packed by gzip", unpack}}, {0, "BZh", foreign{"packed by bzip2", unpack}},
	{0, "\xfd7zXZ\x00", foreign{"packed by xz", unpack}}, {0, "\x28\xb5\x2f\xfd", foreign{"packed by zstd", unpack}},
	{0, "7z\xbc\xaf\x27\x1c", foreign{"a 7z archive", unpack}}, {0, "Rar!\x1a\x07", foreign{"a RAR archive", unpack}},
	{257, "ustar", foreign{"a tar archive", unpack}},
	{0, "PAR1", foreign{"a Parquet file", noImage}}, {0, "\x89HDF\r\n\x1a\n", foreign{"an HDF5 file", noImage}},
	{0, "\x93NUMPY", foreign{"a NumPy array", "save it as PNG"}},
	{0, "\x80\x04\x95", foreign{"pickled by Python", noImage}},
	{0, "SQLite format 3\x00", foreign{"an SQLite database", noImage}},
	{0, "\x7fELF", foreign{"a program", noImage}}, {0, "MZ", foreign{"a program", noImage}},
	{0, "\x00\x05\x16\x07", foreign{"what macOS keeps beside a file (AppleDouble)", "remove it"}},
	{0, "version https://git-lfs.github.com/", foreign{"a Git LFS pointer and not the image", "run git lfs pull"}},
	{0, "data:image/", foreign{"a data URL", "store its decoded bytes"}},
	{0, "RIFF", foreign{"a RIFF file without WebP", noImage}},
}

// identify says what data are that no decoder takes, nil if it does not know.
func identify(data []byte) *foreign {
	for _, b := range beginnings {
		if len(data) > b.at && bytes.HasPrefix(data[b.at:], []byte(b.prefix)) {
			return &b.foreign
		}
	}
	if brands := boxBrands(data); brands != nil {
		return identifyBrand(brands)
	}
	if len(bytes.Trim(data, "\x00")) == 0 {
		return &foreign{"nothing but zero bytes, as an interrupted copy leaves", again}
	}
	return identifyText(data)
}

// boxBrands are what a file made of boxes, as HEIF and MP4 are, says that it is: the main brand, then those that it is
// compatible with; nil for other files.
func boxBrands(data []byte) (brands []string) {
	if len(data) < 16 || string(data[4:8]) != "ftyp" {
		return nil
	}
	size := int(data[2])<<8 | int(data[3])
	if data[0] != 0 || data[1] != 0 || size < 16 {
		return nil
	}
	brands = append(brands, string(data[8:12]))
	for at := 16; at+4 <= min(size, len(data)); at += 4 {
		brands = append(brands, string(data[at:at+4]))
	}
	return brands
}

func identifyBrand(brands []string) *foreign {
	heic := []string{"heic", "heix", "heim", "heis", "hevc", "hevx", "hevm", "hevs"}
	has := func(names ...string) bool {
		return slices.ContainsFunc(brands, func(b string) bool { return slices.Contains(names, b) })
	}
	switch {
	case has(heic...):
		return &foreign{"HEIC (HEIF), as iPhones store photos", "convert it to JPEG, or let the phone store " +
			"the most compatible format"}
	case has("crx "):
		return &foreign{"a raw photo (CR3)", export}
	case has("jxl "):
		return &foreign{"JPEG XL", toJPEG}
	case has("mif1", "msf1", "miaf"):
		return &foreign{"HEIF", toJPEG}
	case has("qt  ", "M4A "):
		return &foreign{"a video or sound (MOV, M4A)", aFrame}
	}
	return &foreign{"a video (MP4)", aFrame}
}

// identifyText says what a text is.
func identifyText(data []byte) *foreign {
	head := bytes.TrimLeft(bytes.TrimPrefix(data[:min(len(data), 4096)], []byte("\xef\xbb\xbf")), " \t\r\n")
	lower := strings.ToLower(string(head))
	has := func(prefixes ...string) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(lower, p) })
	}
	markup := has("<!--", "<?xml", "<!doctype")
	switch {
	case has("<svg"), markup && strings.Contains(lower, "<svg"):
		return &foreign{"an SVG drawing", "render it as PNG"}
	case has("<!doctype html", "<html", "<head", "<body", "<script", "<title", "<meta"),
		markup && strings.Contains(lower, "<html"):
		return &foreign{"a web page: the download went wrong", again}
	case markup, has("<error"):
		return &foreign{"XML and no image", again}
	case has("{", "[") && isText(head):
		return &foreign{"JSON and no image", again}
	case isText(head):
		return &foreign{"text and no image", noImage}
	}
	return nil
}

// isText says whether the beginning of a file looks like something to read.
func isText(head []byte) bool {
	for len(head) > 0 {
		r, n := utf8.DecodeRune(head)
		if r == utf8.RuneError && n == 1 && utf8.FullRune(head) || r < ' ' && !strings.ContainsRune("\t\n\r\f", r) {
			return false
		}
		head = head[n:]
	}
	return true
}

// unknown is the error for data that no decoder takes.
func unknown(data []byte) *ImageError {
	if f := identify(data); f != nil {
		return &ImageError{Reason: ReasonUnknown, Err: fmt.Errorf("it is %s; %s", f.what, f.cure)}
	}
	return &ImageError{Reason: ReasonUnknown, Err: fmt.Errorf("starts with % x; want %s", data[:min(len(data), 8)],
		supported)}
}

// rawPhoto refuses a camera's file that looks like a TIFF: its first picture is a thumbnail, or what the sensor saw.
func rawPhoto(data []byte, d *tiffDirectory) error {
	photometric := d.first(tagPhotometric, 0)
	_, _, _, dng := d.value(tagDNGVersion)
	reduced := d.first(tagNewSubfileType, 0)&1 != 0
	name := ""
	switch {
	case len(data) > 10 && string(data[8:10]) == "CR":
		name = "CR2"
	case dng:
		name = "DNG"
	case photometric == tiffCFA, photometric == tiffLinearRaw:
		name = "of a sensor"
	case reduced && d.length(tagSubDirectories) > 0:
		name = "such as NEF, ARW or PEF"
	default:
		return nil
	}
	return &ImageError{Reason: ReasonUnsupported, Format: "tiff", Err: fmt.Errorf("a raw photo (%s); %s", name, export)}
}
