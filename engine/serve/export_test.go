package serve

// Patterns are those of all routes.
func (s *Server) Patterns() (patterns []string) {
	for _, r := range s.table() {
		patterns = append(patterns, r.pattern)
	}
	return patterns
}
