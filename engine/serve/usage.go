package serve

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// usage is what has been asked of a model since the server began, for the statistics extension.
type usage struct {
	mu   sync.Mutex
	said modelStatistics
}

// modelStatistics, and what is in it, are as Triton writes them. Decoding and waiting are part of a request's time and
// are not told apart.
type modelStatistics struct {
	Name       string            `json:"name"`
	Version    string            `json:"version"`
	Last       int64             `json:"last_inference"` // in milliseconds since 1970
	Images     int               `json:"inference_count"`
	Runs       int               `json:"execution_count"`
	Requests   requestStatistics `json:"inference_stats"`
	BatchSizes []batchStatistics `json:"batch_stats"`
}

type requestStatistics struct {
	Success duration `json:"success"`
	Fail    duration `json:"fail"`
	Queue   duration `json:"queue"`
	Input   duration `json:"compute_input"`
	Infer   duration `json:"compute_infer"`
	Output  duration `json:"compute_output"`
}

type batchStatistics struct {
	Size   int      `json:"batch_size"`
	Input  duration `json:"compute_input"`
	Infer  duration `json:"compute_infer"`
	Output duration `json:"compute_output"`
}

// duration is how often something happened, and how long that took in all.
type duration struct {
	Count int   `json:"count"`
	NS    int64 `json:"ns"`
}

func (d *duration) add(took time.Duration) {
	d.Count++
	d.NS += took.Nanoseconds()
}

// classified counts a request of a model that began then.
func (s *Server) classified(m *model, begin time.Time, images, failed int) {
	s.metrics.images(m.name, images, failed)
	u := &m.usage
	u.mu.Lock()
	defer u.mu.Unlock()
	if images == 0 {
		u.said.Requests.Fail.add(time.Since(begin))
		return
	}
	u.said.Requests.Success.add(time.Since(begin))
	u.said.Images += images
	u.said.Last = time.Now().UnixMilli()
}

// ran counts a run of the model.
func (u *usage) ran(images int, took time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.said.Runs++
	u.said.Requests.Infer.add(took)
	of := func(b batchStatistics, size int) int { return cmp.Compare(b.Size, size) }
	i, known := slices.BinarySearchFunc(u.said.BatchSizes, images, of)
	if !known {
		u.said.BatchSizes = slices.Insert(u.said.BatchSizes, i, batchStatistics{Size: images})
	}
	u.said.BatchSizes[i].Infer.add(took)
}

// statistics is what there is to say of a model.
func (m *model) statistics() modelStatistics {
	m.usage.mu.Lock()
	defer m.usage.mu.Unlock()
	said := m.usage.said
	said.Name, said.Version = m.name, onlyVersion
	said.BatchSizes = append([]batchStatistics{}, said.BatchSizes...)
	return said
}
