package serve

// Patterns are those of all routes.
func (s *Server) Patterns() (patterns []string) {
	for _, r := range s.table() {
		patterns = append(patterns, r.pattern)
	}
	return patterns
}

// Occupy takes so many places in the queue, or gives them back.
func (s *Server) Occupy(images int) { s.waiting.Add(int64(images)) }

// Held is the bytes of bodies that have come for requests not yet answered.
func (s *Server) Held() int64 { return s.bodies.Load() }
