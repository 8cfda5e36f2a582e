package models

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	longestBackoff = 30 * time.Second
	longestWait    = 5 * time.Minute // that the hub may ask for; its rate limits count in windows of this length
	maxListing     = 32 << 20        // bytes of a repository's list of files
	userAgent      = "vitft"
)

// transient is a failure that may pass: the request is worth another try, after wait at the earliest.
type transient struct {
	text string
	wait time.Duration
}

func (t *transient) Error() string { return t.text }

var errStalled = errors.New("the connection stalled")

// remote is what the hub says of a file before it is fetched.
type remote struct {
	name   string // path in the repository
	url    string // of this very content
	digest digest
	size   int64 // bytes; -1 if the hub does not say
}

func (s *session) tree(ctx context.Context, r ref) (commit string, files []string, err error) {
	what := "the list of files of " + r.repository
	revisions := s.endpoint.JoinPath("api", "models", r.repository, "revision").String()
	address := revisions + "/" + url.PathEscape(r.revision)
	var answer struct {
		SHA      string
		Siblings []struct{ RFilename string }
	}
	err = s.ask(ctx, what, http.MethodGet, address, func(resp *http.Response) error {
		if resp.StatusCode != http.StatusOK {
			return s.refusal(resp, r)
		}
		text, err := io.ReadAll(io.LimitReader(resp.Body, maxListing))
		if err != nil {
			return s.failure(ctx, err)
		}
		if err := json.Unmarshal(text, &answer); err != nil || !commitName.MatchString(answer.SHA) {
			return s.noHub(what)
		}
		return nil
	})
	for _, f := range answer.Siblings {
		if isRepositoryPath(f.RFilename) {
			files = append(files, f.RFilename)
		}
	}
	return answer.SHA, files, err
}

func (s *session) describe(ctx context.Context, r ref, commit, name string) (remote, error) {
	what := r.repository + ":" + name
	f := remote{name: name, url: s.endpoint.JoinPath(r.repository, "resolve", commit).String(), size: -1}
	for part := range strings.SplitSeq(name, "/") {
		f.url += "/" + url.PathEscape(part)
	}
	err := s.ask(ctx, what, http.MethodHead, f.url, func(resp *http.Response) error {
		linked := resp.Header.Get("X-Linked-Etag")
		if resp.StatusCode != http.StatusOK && (linked == "" || resp.StatusCode/100 != 3) {
			return s.refusal(resp, r)
		}
		if got := headerOnTheWay(resp, "X-Repo-Commit"); got != commit {
			return s.noHub(what)
		}
		var ok bool
		if f.digest, ok = parseDigest(cmp.Or(linked, resp.Header.Get("ETag"))); !ok {
			return fmt.Errorf("%w: %s: %s gives no digest to check it by (entity tag %q); use the hub itself or "+
				"another mirror (HF_ENDPOINT)", ErrCorrupt, what, s.endpoint.Host, resp.Header.Get("ETag"))
		}
		if n, err := strconv.ParseInt(resp.Header.Get("X-Linked-Size"), 10, 64); err == nil && n >= 0 {
			f.size = n
		} else if linked == "" {
			f.size = resp.ContentLength
		}
		return nil
	})
	return f, err
}

// ask makes one request, again where it may pass, and has its answer taken.
func (s *session) ask(ctx context.Context, what, method, url string, take func(*http.Response) error) error {
	return s.persist(ctx, what, func() (bool, error) {
		resp, err := s.send(ctx, method, url, nil)
		if err != nil {
			return false, err
		}
		defer resp.Body.Close()
		return false, take(resp)
	})
}

// headerOnTheWay is a header of an answer or else of the redirections that led to it.
func headerOnTheWay(resp *http.Response, name string) string {
	for ; resp != nil; resp = resp.Request.Response {
		if value := resp.Header.Get(name); value != "" {
			return value
		}
	}
	return ""
}

func (s *session) noHub(what string) error {
	return fmt.Errorf("%w: %s: %s does not answer as a Hugging Face hub does; check HF_ENDPOINT, the proxy, and "+
		"whether the network wants a login", ErrNetwork, what, s.endpoint.Host)
}

// persist calls try until it succeeds, fails for good, or fails as often in a row as the settings allow; a try that
// brought something starts a new row.
func (s *session) persist(ctx context.Context, what string, try func() (advanced bool, err error)) error {
	for failures := 0; ; {
		advanced, err := try()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var t *transient
		if !errors.As(err, &t) {
			return err
		}
		if advanced {
			failures = 0
		}
		failures++
		if failures >= s.Attempts {
			return fmt.Errorf("%w: %s: %w (tried %d times); try again later", ErrNetwork, what, t, failures)
		}
		if t.wait > longestWait {
			return fmt.Errorf("%w: %s: %w; it asks to wait %v, so try again then", ErrNetwork, what, t, t.wait)
		}
		wait := max(t.wait, min(min(s.Backoff, longestBackoff)<<min(failures-1, 8), longestBackoff))
		wait += rand.N(wait/4 + 1) // so that many clients do not come back at once
		s.Note(fmt.Sprintf("%s: %v; trying again in %v (%d of %d)", what, t, wait.Round(100*time.Millisecond), failures,
			s.Attempts-1))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// send makes one request. Connecting, answering and every read of the answer's body may take as long as a stalled
// connection is borne; the whole may take any time. Where a redirection says what it leads to, HEAD does not follow it.
func (s *session) send(ctx context.Context, method, address string, header http.Header) (*http.Response, error) {
	reqCtx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(s.Stall, func() { cancel(errStalled) })
	req, err := http.NewRequestWithContext(reqCtx, method, address, nil)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Accept-Encoding", "identity") // lengths and ranges are the content's own
	maps.Copy(req.Header, header)
	client := http.Client{Transport: s, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		if method == http.MethodHead && next.Response.Header.Get("X-Linked-Etag") != "" {
			return http.ErrUseLastResponse
		}
		if len(via) >= 10 {
			return errors.New("redirected in circles")
		}
		return nil
	}}
	resp, err := client.Do(req)
	timer.Stop()
	if err != nil {
		defer cancel(nil)
		if errors.Is(context.Cause(reqCtx), errStalled) {
			err = errStalled
		}
		return nil, s.failure(ctx, err)
	}
	resp.Body = &watchedBody{resp.Body, reqCtx, cancel, timer, s.Stall}
	return resp, nil
}

// RoundTrip adds the token to what goes to the hub itself, and only to that: redirections lead to other hosts, which
// must not see it.
func (s *session) RoundTrip(req *http.Request) (*http.Response, error) {
	if s.Token != "" && s.isEndpoint(req.URL) {
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", "Bearer "+s.Token)
	}
	return s.Transport.RoundTrip(req)
}

func (s *session) isEndpoint(u *url.URL) bool {
	return u.Scheme == s.endpoint.Scheme && strings.EqualFold(u.Host, s.endpoint.Host)
}

// watchedBody ends with errStalled when nothing comes for too long.
type watchedBody struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	stall  time.Duration
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.stall)
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	if err != nil && err != io.EOF && errors.Is(context.Cause(b.ctx), errStalled) {
		err = errStalled
	}
	return n, err
}

func (b *watchedBody) Close() error {
	b.timer.Stop()
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}

// failure is what a broken request means. Its text has no query: addresses of stored files are signed there.
func (s *session) failure(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	host := s.endpoint.Host
	var u *url.Error
	if errors.As(err, &u) {
		if address, parseErr := url.Parse(u.URL); parseErr == nil {
			host = address.Host
		}
		err = u.Err
	}
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return fmt.Errorf("%w: %s shows a certificate that is not trusted: %w; if a proxy stands between, add its "+
			"certificate to the system's", ErrNetwork, host, certificate)
	}
	if err == io.ErrUnexpectedEOF || err == io.EOF {
		err = errors.New("the connection broke off")
	}
	return &transient{text: fmt.Sprintf("%s: %v", host, err)}
}

// refusal is what an answer other than the one hoped for means. The codes are the hub's own; without a token it answers
// 401 for what does not exist, too.
func (s *session) refusal(resp *http.Response, r ref) error {
	host, status := resp.Request.URL.Host, resp.StatusCode
	text := fmt.Sprintf("%s answers %d %s", host, status, http.StatusText(status))
	if message := resp.Header.Get("X-Error-Message"); message != "" {
		text += fmt.Sprintf(" (%.200q)", message)
	}
	code := resp.Header.Get("X-Error-Code")
	switch {
	case status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
		return &transient{text: text, wait: retryAfter(resp.Header, time.Now())}
	case code == "" && !s.isEndpoint(resp.Request.URL):
		return &transient{text: text} // a signed address that ran out; the hub signs a new one
	}
	page := s.endpoint.JoinPath(r.repository).String()
	switch {
	case code == "GatedRepo", status == http.StatusForbidden:
		return fmt.Errorf("%w: %s: %s; accept its terms at %s and set HF_TOKEN to a token of that account that may "+
			"read it", ErrAccess, r.repository, text, page)
	case code == "RevisionNotFound":
		return fmt.Errorf("%w: %s has no revision %s; %s/tree/main lists what it has", ErrUnknown, r.repository,
			r.revision, page)
	case code == "EntryNotFound":
		return fmt.Errorf("%w: %s lacks a file it listed: %s", ErrUnknown, r.repository, text)
	case status == http.StatusUnauthorized && s.Token != "" && code != "RepoNotFound":
		return fmt.Errorf("%w: %s: %s; the token in HF_TOKEN is not valid any more or not for this repository",
			ErrAccess, r.repository, text)
	case code == "RepoNotFound", status == http.StatusNotFound, status == http.StatusUnauthorized:
		return fmt.Errorf("%w: the hub has no repository %s, or a private one: check the spelling, or set HF_TOKEN "+
			"to a token that may read it", ErrUnknown, r.repository)
	}
	return fmt.Errorf("%w: %s: %s", ErrNetwork, r.repository, text)
}

// rateLimit finds the seconds until the hub's limit is lifted (https://huggingface.co/docs/hub/rate-limits):
// "api";r=0;t=55
var rateLimit = regexp.MustCompile(`;\s*r\s*=\s*0\s*;\s*t\s*=\s*([0-9]{1,9})`)

// retryAfter is how long an answer asks to wait: a number of seconds or a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if value == "" {
		if m := rateLimit.FindStringSubmatch(h.Get("RateLimit")); m != nil {
			value = m[1]
		}
	}
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(0, date.Sub(now))
	}
	return 0
}
