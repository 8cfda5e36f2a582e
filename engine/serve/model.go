package serve

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vitft/vitft/engine/classify"
	"github.com/vitft/vitft/engine/explain"
)

// model is a place for a classifier, which can be exchanged while requests use it.
type model struct {
	name, path string
	loading    sync.Mutex
	usage      usage

	mu      sync.Mutex
	current *generation
}

// generation is a classifier and those who use it.
type generation struct {
	*classify.Classifier
	loaded time.Time
	users  sync.WaitGroup

	explaining chan struct{} // held while it is made ready to explain
	explains   *explain.Explainer
}

// load opens the classifier, puts it in place, and closes the one before when its last user is done. It is run once
// first, so that no request has to wait for what a first run prepares.
func (m *model) load(o classify.Options) error {
	m.loading.Lock()
	defer m.loading.Unlock()
	all, asked := o.OnBatch, atomic.Bool{}
	o.OnBatch = func(images int, took time.Duration) {
		if all(images, took); asked.Load() {
			m.usage.ran(images, took)
		}
	}
	c, err := classify.Open(m.path, o)
	if err != nil {
		return err
	}
	if err := c.TakesImages(); err != nil {
		return errors.Join(err, c.Close())
	}
	if _, err := c.ClassifyPixels(context.Background(), make([]float32, c.Preprocess().Size()), 1); err != nil {
		c.Close()
		return fmt.Errorf("%s does not run: %w", m.path, err)
	}
	asked.Store(true)
	m.mu.Lock()
	old := m.current
	m.current = &generation{Classifier: c, loaded: time.Now(), explaining: make(chan struct{}, 1)}
	m.mu.Unlock()
	return old.end()
}

// use returns the classifier of the moment; it stays open until done is called.
func (m *model) use() (g *generation, done func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.current.users.Add(1)
	return m.current, m.current.users.Done
}

func (m *model) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current.end()
}

// end waits for the users of a classifier, if there is one, and closes it.
func (g *generation) end() error {
	if g == nil {
		return nil
	}
	g.users.Wait()
	if g.explains != nil {
		return errors.Join(g.explains.Close(), g.Close())
	}
	return g.Close()
}
