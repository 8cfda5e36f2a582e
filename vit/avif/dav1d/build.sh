#!/bin/sh
# Builds dav1d.wasm.gz from dav1d's sources, unchanged, and picture.c:
#
#     vit/avif/dav1d/build.sh FOLDER
#
# FOLDER is a checkout of dav1d (https://code.videolan.org/videolan/dav1d) at the commit below. Needs Zig
# (python3 -m pip install ziglang==0.17.1), whose clang and C library compile for WebAssembly. The same inputs give the
# same bytes.
set -eu
version=1.5.3
here=$(cd "$(dirname "$0")" && pwd)
source=$(cd "$1" && pwd)
grep -q "version: '$version'" "$source/meson.build" || { echo "$source is not dav1d $version" >&2; exit 1; }
zig=${ZIG:-python3 -m ziglang}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/o"
# What meson would find: nothing but C.
for name in ARCH_AARCH64 ARCH_ARM ARCH_LOONGARCH ARCH_LOONGARCH32 ARCH_LOONGARCH64 ARCH_PPC64LE ARCH_RISCV ARCH_RV32 \
	ARCH_RV64 ARCH_X86 ARCH_X86_32 ARCH_X86_64 CONFIG_LOG CONFIG_MACOS_KPERF ENDIANNESS_BIG HAVE_ASM \
	HAVE_CLOCK_GETTIME HAVE_DLSYM HAVE_ELF_AUX_INFO HAVE_GETAUXVAL HAVE_IO_H HAVE_MEMALIGN HAVE_POSIX_MEMALIGN \
	HAVE_PTHREAD_GETAFFINITY_NP HAVE_PTHREAD_NP_H HAVE_PTHREAD_SETAFFINITY_NP HAVE_PTHREAD_SETNAME_NP \
	HAVE_PTHREAD_SET_NAME_NP TRIM_DSP_FUNCTIONS; do
	echo "#define $name 0"
done >"$work/config.h"
for name in CONFIG_8BPC CONFIG_16BPC HAVE_ALIGNED_ALLOC HAVE_C11_GENERIC HAVE_SYS_TYPES_H HAVE_UNISTD_H; do
	echo "#define $name 1"
done >>"$work/config.h"
echo "#define DAV1D_VERSION \"$version\"" >"$work/vcs_version.h"
cd "$source"
compile() { # OUTPUT FLAGS…
	out=$1
	shift
	$zig cc -target wasm32-wasi -O3 -msimd128 -std=c11 -D_GNU_SOURCE -DNDEBUG -I"$work" -I. -Iinclude -Iinclude/dav1d \
		-fno-math-errno -ffunction-sections -fdata-sections -fno-sanitize=all "$@" -c -o "$work/o/$out.o"
}
for f in cdf cpu ctx data decode dequant_tables getbits intra_edge itx_1d lf_mask lib log mem msac obu pal picture qm \
	ref refmvs scan tables thread_task warpmv wedge; do
	compile $f src/$f.c
done
# Rows of blocks are filtered by way of picture.c, which tells Go of each.
for bits in 8 16; do
	for f in cdef_apply cdef fg_apply filmgrain ipred_prepare ipred itx lf_apply loopfilter looprestoration lr_apply mc \
		recon; do
		compile ${f}_$bits -DBITDEPTH=$bits -Ddav1d_filter_sbrow_${bits}bpc=filter_${bits} src/${f}_tmpl.c
	done
done
compile 0 "$here/picture.c"
$zig cc -target wasm32-wasi -Os -mexec-model=reactor -Wl,--no-entry -Wl,--gc-sections -Wl,-s "$work"/o/*.o \
	-o "$work/dav1d.wasm"
gzip -9 -n -c "$work/dav1d.wasm" >"$here/dav1d.wasm.gz"
sha256sum "$here/dav1d.wasm.gz"
