package place

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vitft/vitft/internal/userfile"
)

// underWay is the folder, hidden in that of an output, in which machines leave what it takes to go on with the work: a
// folder for each turn.
const underWay = ".under-way"

// Names in the folder of a turn.
const (
	turnTaken = "taken.json" // by whom; who makes it has the turn
	turnAlive = "alive"      // is put again and again while the turn lasts
	turnLeft  = "left"       // is there when it has ended
)

// A turn is over when nobody said for turnPatience that it lasts, as is said every turnBeat.
const (
	turnBeat     = 20 * time.Second
	turnPatience = 90 * time.Second
)

// Turn is the right to go on with work whose output goes to an object store. Machines have it one after the other,
// each with a higher number and a folder of its own for what it leaves: one that has lost its turn without noticing, as
// a machine that stood still, spoils nothing. That of an output on this machine, which can be locked, is nil.
type Turn struct {
	url    string // of the output
	store  Store
	root   string // where the turns are
	number int

	ctx  context.Context // done when the turn is lost
	lose context.CancelCauseFunc
	stop context.CancelFunc // saying that it lasts
	over bool               // the work is done
}

// TakenError says that another machine has the turn.
type TakenError struct {
	URL, By string
	Since   time.Duration // it last said so
	Lost    bool          // to it, by this process
}

func (e *TakenError) Error() string {
	if e.Lost {
		return fmt.Sprintf("out: %s has taken over what goes to %s; this process leaves it to that", e.By, e.URL)
	}
	return fmt.Sprintf("out: %s is writing to %s, and said so %.0f s ago; wait for its end, or choose another place. "+
		"A machine that is gone is passed over after %.0f s, and at once with --take-over", e.By, e.URL,
		e.Since.Seconds(), turnPatience.Seconds())
}

// taken is who has a turn.
type taken struct {
	By string    `json:"by"`
	At time.Time `json:"at"`
}

// turns are those that there are, by number: the files of each, and when it was last said to last.
type turns map[int]*turnFiles

type turnFiles struct {
	files map[string]Object
	said  time.Time
}

func (o *Output) turns() (turns, error) {
	s, key, err := storeOf(o.url)
	if err != nil {
		return nil, err
	}
	root, all := key+"/"+underWay+"/", turns{}
	err = s.List(root, func(x Object) bool {
		folder, name, _ := strings.Cut(x.Key[len(root):], "/")
		n, _ := strconv.Atoi(folder) // 0 for a clock that was left
		if all[n] == nil {
			all[n] = &turnFiles{files: map[string]Object{}}
		}
		all[n].files[name] = x
		if (name == turnTaken || name == turnAlive) && x.Modified.After(all[n].said) {
			all[n].said = x.Modified
		}
		return true
	})
	return all, err
}

// last is the number of the last turn; 0 without any.
func (t turns) last() (n int) {
	for k := range t {
		n = max(n, k)
	}
	return n
}

// has reports whether a turn has left a file. One that was forgotten may leave some once more.
func (t turns) has(n int, name string) bool {
	return t[n] != nil && t[n].files[turnTaken].Key != "" && t[n].files[name].Key != ""
}

// Begun reports whether a machine has left something to go on with.
func (o *Output) Begun() (bool, error) {
	if o.url == "" {
		return false, nil
	}
	all, err := o.turns()
	for n := range all {
		if all.has(n, turnTaken) {
			return true, nil
		}
	}
	return false, err
}

// Take takes the turn, unless another machine has it and seize is not set: the error is a *TakenError then.
func (o *Output) Take(ctx context.Context, seize bool) (*Turn, error) {
	if o.url == "" {
		return nil, nil
	}
	s, key, err := storeOf(o.url)
	if err != nil {
		return nil, err
	}
	for {
		all, err := o.turns()
		if err != nil {
			return nil, err
		}
		t := &Turn{url: o.url, store: s, root: key + "/" + underWay + "/", number: all.last() + 1}
		if before := all[t.number-1]; before != nil && !seize {
			if err := t.lasts(before); err != nil {
				return nil, err
			}
		}
		host, _ := os.Hostname()
		text, err := json.Marshal(taken{By: fmt.Sprintf("%s, process %d", host, os.Getpid()), At: time.Now().UTC()})
		if err == nil {
			err = s.Create(t.key(t.number, turnTaken), text)
		}
		if errors.Is(err, fs.ErrExist) && ctx.Err() == nil { // another was faster
			seize = false
			continue
		}
		if err != nil {
			return nil, err
		}
		t.ctx, t.lose = context.WithCancelCause(ctx)
		var last context.Context
		last, t.stop = context.WithCancel(context.WithoutCancel(ctx)) // what is put in the end takes its time
		go t.hold(last)
		o.turn = t
		return t, nil
	}
}

func (t *Turn) key(number int, name string) string {
	return fmt.Sprintf("%s%06d/%s", t.root, number, name)
}

// lasts is the error that says that the turn before lasts.
func (t *Turn) lasts(before *turnFiles) error {
	if _, left := before.files[turnLeft]; left {
		return nil
	}
	now, err := Clock(Bucket(t.url) + "/" + strings.TrimSuffix(t.root, "/"))
	if since := now.Sub(before.said); err == nil && since < turnPatience {
		return &TakenError{URL: t.url, By: t.by(t.number - 1), Since: since}
	}
	return err
}

// by is who has, or had, a turn.
func (t *Turn) by(number int) string {
	var of taken
	text, _, err := t.store.Get(t.key(number, turnTaken), userfile.Small)
	if err != nil || json.Unmarshal(text, &of) != nil || of.By == "" {
		return "another machine"
	}
	return of.By
}

// hold says that the turn lasts until it is lost or given back.
func (t *Turn) hold(ctx context.Context) {
	again := time.NewTicker(turnBeat)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
		if t.Mine() != nil { // lost, or the store does not answer: then it is the next time
			continue
		}
		key := t.key(t.number, turnAlive)
		_ = t.store.Copy(key, t.key(t.number, turnTaken)) // which makes it new; else likewise
	}
}

// Mine refuses to go on with work that another machine has taken over; then the turn is lost.
func (t *Turn) Mine() error {
	if t == nil {
		return nil
	}
	all, err := (&Output{url: t.url}).turns()
	switch {
	case err != nil:
		return err
	case all.last() > t.number || !all.has(t.number, turnTaken): // another has gone on, or has ended the work
		lost := &TakenError{URL: t.url, By: t.by(all.last()), Lost: true}
		t.lose(lost)
		return lost
	}
	return nil
}

// Context is done when the turn is lost, by its cause.
func (t *Turn) Context() context.Context { return t.ctx }

// Lost is why the turn was lost, nil if it was not.
func (t *Turn) Lost() error {
	if t == nil {
		return nil
	}
	if e := (*TakenError)(nil); errors.As(context.Cause(t.ctx), &e) {
		return e
	}
	return nil
}

// Put leaves a file for who goes on; what earlier turns have left of it is of no use then.
func (t *Turn) Put(name, file string) error {
	if err := t.Mine(); err != nil {
		return err
	}
	return t.store.Put(t.key(t.number, name), file)
}

// Left are the URLs of what turns have left, by name: of each what the last one has left.
func (t *Turn) Left() (map[string]string, error) {
	all, err := (&Output{url: t.url}).turns()
	if err != nil {
		return nil, err
	}
	left := map[string]string{}
	for _, n := range slices.Sorted(maps.Keys(all)) {
		for name, o := range all[n].files {
			if all.has(n, name) && name != turnTaken && name != turnAlive && name != turnLeft {
				left[name] = Bucket(t.url) + "/" + o.Key
			}
		}
	}
	return left, nil
}

// Fetch makes a file of what the last turn that has left it has, and says whether one has.
func (t *Turn) Fetch(name, to string) (bool, error) {
	left, err := t.Left()
	if left[name] == "" || err != nil {
		return false, err
	}
	return true, Download(left[name], to)
}

// Forget removes what earlier turns have left.
func (t *Turn) Forget() error { return t.remove(func(n int) bool { return n < t.number }) }

func (t *Turn) remove(which func(turn int) bool) error {
	all, err := (&Output{url: t.url}).turns()
	if err != nil {
		return err
	}
	for n, of := range all {
		for _, o := range of.files {
			if !which(n) {
				continue
			}
			if err := t.store.Delete(o.Key); err != nil && !isMissing(err) {
				return err
			}
		}
	}
	return nil
}

// SetAside keeps what earlier turns have left under another name, and says so, if one of some names is among it; else
// it is of no use.
func (t *Turn) SetAside(kept func(as string), names ...string) error {
	all, err := (&Output{url: t.url}).turns()
	if err != nil {
		return err
	}
	whole := false
	var from []string
	for n, of := range all {
		for k, o := range of.files {
			if n < t.number {
				from, whole = append(from, o.Key), whole || slices.Contains(names, k)
			}
		}
	}
	if whole {
		as, err := freeName(t.url)
		if err != nil {
			return err
		}
		_, old := cut(t.url)
		for _, k := range from {
			if err := t.store.Copy(old+as+k[len(old):], k); err != nil {
				return err
			}
		}
		kept(t.url + as)
	}
	return t.Forget()
}

// Close lets others have the turn.
func (t *Turn) Close() error {
	if t == nil {
		return nil
	}
	t.stop()
	defer t.lose(nil)
	if t.over || t.Lost() != nil {
		return nil
	}
	return t.store.Create(t.key(t.number, turnLeft), nil)
}

// end removes what all turns have left: the work is done.
func (t *Turn) end() error {
	if t == nil {
		return nil
	}
	t.stop()
	t.over = true
	return t.remove(func(int) bool { return true })
}
