// Package library fetches the ONNX Runtime library where vitft looks for it: what pins.txt names, checked by SHA-256,
// from a package index, a mirror of one, the release page, or files that somebody has fetched already.
//
// [Fetch] goes on from what an interrupted one has loaded, publishes the library whole or not at all, and fetches
// nothing where the right one is there. scripts/runtime.sh reads the same pins, for a machine without vitft.
package library

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/fault"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/internal/atomicfile"
	"github.com/vitft/vitft/internal/disk"
)

// Options say which library to fetch, from where, and where to put it. The zero value is right for a machine without a
// GPU.
type Options struct {
	GPU    bool   // the CUDA build
	Deps   bool   // with NVIDIA's libraries that it needs; implies GPU
	CUDA   string // the driver's: "13" or "12"
	Mirror string // address of a package index or of a file, or a file or folder; PyPI and the release page
	Out    string // folder; where vitft looks, or lib-gpu beside it
	// Platform is another machine's, such as linux-arm64, for an archive that is to run there; this one's.
	Platform string

	Stall   time.Duration // after which a connection on which nothing comes counts as broken; 30 s
	Backoff time.Duration // before the second of five tries, longer before each further one; 1 s
}

// Fields declares the settings.
func (o *Options) Fields() []setting.Field {
	return setting.In("runtime library",
		setting.Flag("gpu", &o.GPU, "the CUDA build (Linux, amd64), 250 MB to fetch").Here(),
		setting.Flag("gpu-deps", &o.Deps,
			"the CUDA build, and NVIDIA's libraries that it needs (their licences apply), up to 1.9 GB to "+
				"fetch").Here(),
		setting.OneOf("cuda", &o.CUDA, "13", []string{"13", "12"}, "version of CUDA that the driver is of").Here(),
		setting.Text("mirror", &o.Mirror, "", addressOrLocal,
			"take it from here: address of a package index (…/simple) or of the file, or a file or folder that is "+
				"there already (default: PIP_INDEX_URL, else PyPI, else the release page)").Here(),
		setting.Text("out", &o.Out, "", setting.Local,
			"folder to put it in (default: vitft/lib, or vitft/lib-gpu, in the user's cache folder)").Here(),
		setting.Text("platform", &o.Platform, "", nil,
			"another machine's, for an archive that is to run there: linux-amd64, linux-arm64 or darwin-arm64 "+
				"(default: this one's)").Here(),
	)
}

// addressOrLocal refuses what is neither an address of the web nor on this machine.
func addressOrLocal(text string) error {
	if strings.HasPrefix(text, "https://") || strings.HasPrefix(text, "http://") {
		return nil
	}
	return setting.Local(text)
}

// Result is what Fetch has done.
type Result struct {
	Path    string // of the library
	Version string
	Fetched bool // false: it was there
}

//go:embed pins.txt
var pinned string

// pin is a line of pins.txt.
type pin struct{ what, platform, of, name, version, sum string }

// pins are those of a build for a platform.
func pins(what, platform string) (list []pin) {
	for line := range strings.Lines(pinned) {
		if f := strings.Fields(line); len(f) == 6 && f[0] == what && f[1] == platform {
			list = append(list, pin{f[0], f[1], f[2], f[3], f[4], f[5]})
		}
	}
	return list
}

// of are those of a list that are sums of one thing.
func of(list []pin, what string) (some []pin) {
	for _, p := range list {
		if p.of == what {
			some = append(some, p)
		}
	}
	return some
}

// Name is the file name of the library on a platform.
func Name(platform string) string {
	if strings.HasPrefix(platform, "darwin") {
		return "libonnxruntime.dylib"
	}
	return "libonnxruntime.so"
}

// complete fills in the defaults, and finds what is pinned.
func (o *Options) complete() ([]pin, error) {
	if err := setting.Complete(o.Fields()); err != nil {
		return nil, err
	}
	if o.Platform == "" {
		o.Platform = runtime.GOOS + "-" + runtime.GOARCH
	}
	if o.Stall == 0 {
		o.Stall = 30 * time.Second
	}
	if o.Backoff == 0 {
		o.Backoff = time.Second
	}
	o.GPU = o.GPU || o.Deps
	what, folder := "cpu", "lib"
	if o.GPU {
		what, folder = "gpu"+o.CUDA, "lib-gpu"
	}
	if o.Out == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, fault.Config.Errorf("out: there is no cache folder here (%w); name the folder to put the "+
				"library in, and point VITFT_ORT_LIB at it", err)
		}
		o.Out = filepath.Join(cache, "vitft", folder)
	}
	wanted := pins(what, o.Platform)
	if wanted == nil {
		return nil, fault.Runtime.Errorf("no %s build of the ONNX Runtime library is pinned for %s; install version "+
			"1.24 or later yourself, and set VITFT_ORT_LIB to its path", strings.TrimRight(what, "0123456789"),
			o.Platform)
	}
	if o.Deps {
		wanted = append(pins("deps"+o.CUDA, o.Platform), wanted...) // the library itself comes last
	}
	return wanted, nil
}

// Fetch puts the library in its folder.
func Fetch(ctx context.Context, o Options, ev event.Events) (*Result, error) {
	wanted, err := o.complete()
	if err != nil {
		return nil, err
	}
	done := &Result{Path: filepath.Join(o.Out, Name(o.Platform)), Version: wanted[len(wanted)-1].version}
	if o.GPU { // its name has the version
		done.Path = filepath.Join(o.Out, Name(o.Platform)+"."+done.Version)
	}
	if err := disk.MakeAll(o.Out); err != nil {
		return nil, err
	}
	lock, err := atomicfile.Lock(o.Out)
	there := o.there(done.Path, wanted)
	switch {
	case errors.Is(err, atomicfile.ErrLocked) && !there:
		return nil, fmt.Errorf("another vitft setup is writing to %s; wait for it", o.Out)
	case err != nil && !there:
		return nil, err
	case err != nil:
		return done, nil
	}
	defer lock.Close()
	if there {
		return done, o.clean()
	}
	g := getter{Options: o, ctx: ctx, events: ev}
	if !o.GPU {
		err = g.one(wanted)
	} else {
		err = g.all(of(wanted, "wheel"))
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("interrupted; what came is kept, and the same command goes on from there: %w", ctx.Err())
	}
	if err != nil {
		return nil, err
	}
	done.Fetched = true
	return done, cmp.Or(o.clean(), disk.KeepFolder(o.Out))
}

// clean removes what interrupted calls have loaded of a library that is there now, or of other versions.
func (o Options) clean() (err error) {
	left, _ := filepath.Glob(filepath.Join(o.Out, ".fetch-*"))
	for _, path := range left {
		err = cmp.Or(err, disk.Delete(path))
	}
	return err
}

// mark is the file that says of which pins what is in a folder has been made, and of the CPU library which sum it has,
// as scripts/runtime.sh leaves it.
func (o Options) mark(path string) string {
	if o.GPU {
		return filepath.Join(o.Out, "gpu.sha256")
	}
	return path + ".sha256"
}

// there says whether the folder has what is wanted.
func (o Options) there(path string, wanted []pin) bool {
	text, err := os.ReadFile(o.mark(path))
	if err != nil {
		return false
	}
	if o.GPU {
		_, err := os.Stat(path)
		return err == nil && strings.TrimSpace(string(text)) == sums(of(wanted, "wheel"))
	}
	sum, err := sumOf(path)
	if err != nil || sum != strings.TrimSpace(string(text)) {
		return false
	}
	for _, p := range wanted {
		if p.sum == sum {
			return true
		}
	}
	return false
}

func sums(list []pin) string {
	var all []string
	for _, p := range list {
		all = append(all, p.sum)
	}
	return strings.Join(all, "\n")
}
