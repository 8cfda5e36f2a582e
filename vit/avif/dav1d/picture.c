// All that stands between dav1d and Go: decode reads the first picture of AV1 data, and picture tells where its planes
// are and what they mean. Each row of blocks calls tick, where Go can end the work, and can collect its garbage.
#include <stdlib.h>
#include <string.h>

#include <dav1d/dav1d.h>

__attribute__((import_module("vitft"), import_name("tick"))) void tick(void);

void filter_8(void *frame, int row);
void filter_16(void *frame, int row);

void dav1d_filter_sbrow_8bpc(void *frame, int row) {
	tick();
	filter_8(frame, row);
}

void dav1d_filter_sbrow_16bpc(void *frame, int row) {
	tick();
	filter_16(frame, row);
}

static struct {
	uint32_t plane[3], stride[2];
	uint32_t width, height, layout, bits;
	uint32_t primaries, matrix, full_range;
	Dav1dPicture p;
} out;

__attribute__((export_name("allocate"))) void *allocate(uint32_t n) { return malloc(n); }

__attribute__((export_name("picture"))) void *picture(void) { return &out; }

// decode takes a picture of so many pixels at most. It is called once: each picture has a memory of its own.
__attribute__((export_name("decode"))) int decode(const uint8_t *data, uint32_t size, uint32_t most) {
	Dav1dContext *context;
	Dav1dSettings settings;
	dav1d_default_settings(&settings);
	settings.n_threads = 1;
	settings.max_frame_delay = 1;
	settings.all_layers = 0;
	settings.frame_size_limit = most;
	int result = dav1d_open(&context, &settings);
	if (result) return result;
	Dav1dData in;
	uint8_t *copy = dav1d_data_create(&in, size);
	if (!copy) return DAV1D_ERR(ENOMEM);
	memcpy(copy, data, size);
	do {
		if (in.sz) {
			result = dav1d_send_data(context, &in);
			if (result && result != DAV1D_ERR(EAGAIN)) return result;
		}
		result = dav1d_get_picture(context, &out.p);
	} while (result == DAV1D_ERR(EAGAIN) && in.sz);
	if (result) return result;
	for (int i = 0; i < 3; i++) out.plane[i] = (uint32_t)out.p.data[i];
	out.stride[0] = out.p.stride[0];
	out.stride[1] = out.p.stride[1];
	out.width = out.p.p.w;
	out.height = out.p.p.h;
	out.layout = out.p.p.layout;
	out.bits = out.p.p.bpc;
	out.primaries = out.p.seq_hdr->pri;
	out.matrix = out.p.seq_hdr->mtrx;
	out.full_range = out.p.seq_hdr->color_range;
	return 0;
}
