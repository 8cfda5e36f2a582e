package models

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vitft/vitft/internal/disk"
	"github.com/vitft/vitft/internal/userfile"
)

// The errors of a Hub. An error of another kind is the file system's, or the context's when it was cancelled. Their
// method Kind says what a caller can do: "config", see to a setting, or "data", see to a file.
var (
	// ErrNetwork says that the hub did not answer, or not usefully: it may when asked again.
	ErrNetwork = errors.New("the hub cannot be reached")
	// ErrAccess says that the hub wants a token, another token, or terms to be accepted.
	ErrAccess error = &sentinel{"no access", "config"}
	// ErrSetting says that a field of Hub, or the environment variable behind it, cannot be right.
	ErrSetting error = &sentinel{"bad setting", "config"}
	// ErrNotPulled says that a known backbone is not on this machine.
	ErrNotPulled error = &sentinel{"not on this machine", "data"}
	// ErrCorrupt says that a file's content is not what its digest promises.
	ErrCorrupt error = &sentinel{"corrupt", "data"}
	// ErrChanged says that the hub now has another file than the one that was pulled first.
	ErrChanged error = &sentinel{"changed on the hub", "data"}
)

type sentinel struct{ text, kind string }

func (s *sentinel) Error() string { return s.text }
func (s *sentinel) Kind() string  { return s.kind }

const defaultEndpoint = "https://huggingface.co"

// Hub pulls backbones from the Hugging Face hub into the hub's own cache, where other programs find them too, and finds
// them there. Its zero value is ready to use and heeds the environment variables of the hub's own client. Its methods
// may be called from several goroutines and processes at once.
type Hub struct {
	Endpoint string // address of the hub or a mirror; $HF_ENDPOINT, else https://huggingface.co
	Cache    string // $HF_HUB_CACHE, else the folder hub of $HF_HOME, else ~/.cache/huggingface/hub
	Token    string // $HF_TOKEN, else what `hf auth login` keeps in $HF_TOKEN_PATH or the file token of $HF_HOME
	Offline  bool   // ask nobody, take what is there; also if $HF_HUB_OFFLINE is 1

	Pins   string // file with the digests of what was pulled; vitft/models.lock.json in the user's configuration folder
	Update bool   // let a changed file take the place of the pinned one

	Attempts int           // tries of a request that brings nothing new, before it is given up; 5
	Backoff  time.Duration // wait before the second try, doubled for each further one up to 30 s; 1 s
	Stall    time.Duration // longest time without a byte, while connecting too; 30 s

	// called as bytes arrive, one file after the other; total is -1 while unknown
	Progress func(file string, done, total int64)
	Note     func(text string) // called when something is tried again or waited for

	Transport http.RoundTripper // http.DefaultTransport, which heeds $HTTPS_PROXY
}

// File is one file of a pulled backbone.
type File struct {
	Name   string `json:"name"`             // path in the repository
	Path   string `json:"path"`             // on this machine
	Size   int64  `json:"size"`             // bytes
	Digest string `json:"digest,omitempty"` // "sha256:…" or, of a small file, "git-sha1:…"; empty if another program put it there
}

// Pulled is a backbone on this machine.
type Pulled struct {
	Backbone        // of a repository that is not registered: Name, Repository, File and Revision only
	Commit   string `json:"commit,omitempty"`
	Path     string `json:"path,omitempty"`                // the ONNX file; empty for an embedded backbone and one that is not here
	Config   string `json:"preprocessor_config,omitempty"` // the repository's preprocessor_config.json, if it has one
	Files    []File `json:"files,omitempty"`               // the ONNX file, its external data, Config or what may stand for it
}

// Size is the number of bytes of all files.
func (p Pulled) Size() int64 {
	var n int64
	for _, f := range p.Files {
		n += f.Size
	}
	return n
}

// Pull fetches what of the named backbone is not in the cache: its ONNX file, the external data beside it, and the
// repository's preprocessor_config.json or what may stand for it. A name is that of a registered backbone or
// OWNER/REPOSITORY[:FILE], each with @REVISION if it is not to be the registered one or main. An interrupted pull keeps
// what it loaded, and the next one goes on from there. Every file is checked against the hub's digest, and against the
// one pinned by the first pull.
func (h *Hub) Pull(ctx context.Context, name string) (Pulled, error) {
	b, r, err := named(name)
	if err != nil || b.Embedded {
		return Pulled{Backbone: b}, err
	}
	s, err := h.session()
	if err != nil {
		return Pulled{}, err
	}
	if s.Offline {
		return s.find(b, r, name, func(d digest, path string) (bool, error) { return d.matches(ctx, path) })
	}
	p, err := s.pull(ctx, b, r, name)
	if errors.Is(err, ErrNetwork) {
		if _, here := s.find(b, r, name, trust); here == nil {
			err = fmt.Errorf("%w; the backbone is here already and works without", err)
		}
	}
	return p, err
}

// Find is the named backbone as Pull left it, or as another program left it in the hub's cache; it asks nobody. The
// error for one that is not there wraps ErrNotPulled and names the command that brings it.
func (h *Hub) Find(name string) (Pulled, error) {
	b, r, err := named(name)
	if err != nil || b.Embedded {
		return Pulled{Backbone: b}, err
	}
	s, err := h.session()
	if err != nil {
		return Pulled{}, err
	}
	return s.find(b, r, name, trust)
}

// List is every registered backbone, with its files if they are on this machine, and then whatever else Pull brought.
func (h *Hub) List() ([]Pulled, error) {
	s, err := h.session()
	if err != nil {
		return nil, err
	}
	pinned, err := s.pins.load()
	if err != nil {
		return nil, err
	}
	var list []Pulled
	listed := map[ref]bool{}
	for _, b := range List() {
		p := Pulled{Backbone: b}
		if b.Repository != "" {
			r := ref{b.Repository, b.File, b.Revision}
			listed[r] = true
			if found, err := s.find(b, r, b.Name, trust); err == nil {
				p = found
			}
		}
		list = append(list, p)
	}
	for _, r := range pinned.models() {
		if listed[r] {
			continue
		}
		if p, err := s.find(unregistered(r), r, r.String(), trust); err == nil {
			list = append(list, p)
		}
	}
	return list, nil
}

func named(name string) (Backbone, ref, error) {
	plain, revision, has := cutRevision(name)
	b, err := Lookup(plain)
	switch {
	case err != nil && strings.ContainsRune(name, '/'):
		r, err := parseRef(name)
		return unregistered(r), r, err
	case err != nil:
		return b, ref{}, err
	case b.Embedded && has:
		return b, ref{}, fmt.Errorf("%w: %s is embedded and has no revision %q", ErrUnknown, plain, revision)
	case b.Embedded:
		return b, ref{}, nil
	case b.Repository == "":
		return b, ref{}, fmt.Errorf("%w: %s: no repository is known to have it; give the path of its file instead",
			ErrNotPulled, plain)
	case !has:
		revision = b.Revision
	}
	r, err := parseRef(b.Repository + ":" + b.File + "@" + revision)
	if revision != b.Revision {
		b.Revision, b.SHA256, b.Verified = revision, "", false // those are of the registered one
	}
	return b, r, err
}

// unregistered is what is known of a model that is not in the registry.
func unregistered(r ref) Backbone {
	return Backbone{Name: r.String(), Repository: r.repository, File: r.file, Revision: r.revision}
}

// session is a Hub with its defaults filled in.
type session struct {
	Hub
	endpoint *url.URL
	pins     pinFile
	link     func(target, path string) error
}

func (h *Hub) session() (*session, error) {
	s := &session{Hub: *h, link: disk.Point}
	s.Offline = s.Offline || isTrue("HF_HUB_OFFLINE")
	s.Attempts = cmp.Or(max(0, s.Attempts), 5)
	s.Backoff = cmp.Or(max(0, s.Backoff), time.Second)
	s.Stall = cmp.Or(max(0, s.Stall), 30*time.Second)
	s.Transport = cmp.Or(s.Transport, http.DefaultTransport)
	if s.Progress == nil {
		s.Progress = func(string, int64, int64) {}
	}
	if s.Note == nil {
		s.Note = func(string) {}
	}
	if isTrue("HF_HUB_DISABLE_SYMLINKS") {
		s.link = func(string, string) error { return errors.ErrUnsupported }
	}
	var err error
	if s.endpoint, err = parseEndpoint(cmp.Or(s.Endpoint, os.Getenv("HF_ENDPOINT"), defaultEndpoint)); err != nil {
		return nil, err
	}
	home, err := hubHome()
	if err != nil {
		return nil, err
	}
	s.Cache = expand(cmp.Or(s.Cache, os.Getenv("HF_HUB_CACHE"), os.Getenv("HUGGINGFACE_HUB_CACHE"),
		filepath.Join(home, "hub")))
	s.Token = strings.TrimSpace(cmp.Or(s.Token, os.Getenv("HF_TOKEN"), os.Getenv("HUGGING_FACE_HUB_TOKEN")))
	if s.Token == "" {
		path := expand(cmp.Or(os.Getenv("HF_TOKEN_PATH"), filepath.Join(home, "token")))
		text, err := userfile.Read(path, userfile.Small)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: reading the hub's token: %w", ErrSetting, err)
		}
		s.Token = strings.TrimSpace(string(text))
	}
	if s.Pins == "" {
		dir, err := os.UserConfigDir()
		if err != nil {
			return nil, fmt.Errorf("%w: there is no folder for the pinned digests: %w", ErrSetting, err)
		}
		s.Pins = filepath.Join(dir, "vitft", "models.lock.json")
	}
	s.pins = pinFile(s.Pins)
	return s, nil
}

func parseEndpoint(text string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(text, "/"))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" ||
		u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("%w: HF_ENDPOINT: %q is no address such as %s", ErrSetting, text, defaultEndpoint)
	}
	return u, nil
}

// hubHome is the folder of the hub's own client, the same on all systems.
func hubHome() (string, error) {
	if home := os.Getenv("HF_HOME"); home != "" {
		return expand(home), nil
	}
	if cache := os.Getenv("XDG_CACHE_HOME"); cache != "" {
		return filepath.Join(cache, "huggingface"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("%w: there is no folder for models; set HF_HOME: %w", ErrSetting, err)
	}
	return filepath.Join(home, ".cache", "huggingface"), nil
}

// expand replaces variables and a leading ~, as the hub's own client does.
func expand(path string) string {
	path = os.ExpandEnv(path)
	if rest, has := strings.CutPrefix(path, "~"); has && (rest == "" || os.IsPathSeparator(rest[0])) {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	return path
}

func isTrue(variable string) bool {
	return slices.Contains([]string{"1", "ON", "YES", "TRUE"}, strings.ToUpper(os.Getenv(variable)))
}
