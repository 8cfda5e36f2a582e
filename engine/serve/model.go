package serve

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/vitft/vitft/engine/classify"
)

// model is a place for a classifier, which can be exchanged while requests use it.
type model struct {
	name, path string
	reloading  sync.Mutex

	mu      sync.Mutex
	current *generation
}

// generation is a classifier and those who use it.
type generation struct {
	*classify.Classifier
	loaded time.Time
	users  sync.WaitGroup
}

func openModel(name, path string, o classify.Options) (*model, error) {
	opened := &model{name: name, path: path}
	var err error
	opened.current, err = opened.load(o)
	return opened, err
}

// load opens the classifier and runs it once, so that no request has to wait for what a first run prepares.
func (m *model) load(o classify.Options) (*generation, error) {
	c, err := classify.Open(m.path, o)
	if err != nil {
		return nil, err
	}
	if _, err := c.ClassifyPixels(context.Background(), make([]float32, c.Preprocess().Size()), 1); err != nil {
		c.Close()
		return nil, fmt.Errorf("%s does not run: %w", m.path, err)
	}
	return &generation{Classifier: c, loaded: time.Now()}, nil
}

// use returns the classifier of the moment; it stays open until done is called.
func (m *model) use() (g *generation, done func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.current.users.Add(1)
	return m.current, m.current.users.Done
}

// reload puts a new classifier in place and closes the old one when its last user is done.
func (m *model) reload(o classify.Options) error {
	m.reloading.Lock()
	defer m.reloading.Unlock()
	g, err := m.load(o)
	if err != nil {
		return err
	}
	m.mu.Lock()
	old := m.current
	m.current = g
	m.mu.Unlock()
	return old.end()
}

func (m *model) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current.end()
}

func (g *generation) end() error {
	g.users.Wait()
	return g.Close()
}
