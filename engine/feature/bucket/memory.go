package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Memory is a bucket that ends with the process. The zero value is ready, and empty.
type Memory struct {
	mu      sync.Mutex
	objects map[string][]byte
}

// List names objects.
func (m *Memory) List(ctx context.Context, prefix string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(m.objects)),
		func(s string) bool { return !strings.HasPrefix(s, prefix) })
	return names, ctx.Err()
}

// Open opens an object.
func (m *Memory) Open(ctx context.Context, name string) (Object, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	content, err := m.find(ctx, name)
	if err != nil {
		return nil, err
	}
	return struct {
		*bytes.Reader
		io.Closer
	}{bytes.NewReader(content), io.NopCloser(nil)}, nil
}

// Publish keeps what fill writes.
func (m *Memory) Publish(ctx context.Context, name string, fill func(io.Writer) error) error {
	if err := errors.Join(ctx.Err(), CheckName(name)); err != nil {
		return err
	}
	var b bytes.Buffer
	if err := errors.Join(fill(&b), ctx.Err()); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, there := m.objects[name]; there {
		return fmt.Errorf("%s: %w", name, fs.ErrExist)
	}
	if m.objects == nil {
		m.objects = map[string][]byte{}
	}
	m.objects[name] = b.Bytes()
	return nil
}

// SetAside renames an object.
func (m *Memory) SetAside(ctx context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	content, err := m.find(ctx, name)
	if err != nil {
		return err
	}
	delete(m.objects, name)
	m.objects[name+Aside] = content
	return nil
}

// Delete removes an object.
func (m *Memory) Delete(ctx context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := errors.Join(ctx.Err(), CheckName(name))
	if err == nil {
		delete(m.objects, name)
	}
	return err
}

// Tidy finds nothing: what is not published is nowhere.
func (m *Memory) Tidy(ctx context.Context, folder string) ([]string, error) { return nil, ctx.Err() }

// Where says that it is nowhere in particular.
func (m *Memory) Where(name string) string { return "memory:" + name }

func (m *Memory) find(ctx context.Context, name string) ([]byte, error) {
	content, there := m.objects[name]
	err := errors.Join(ctx.Err(), CheckName(name))
	if err == nil && !there {
		err = fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return content, err
}
