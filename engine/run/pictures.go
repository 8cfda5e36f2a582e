package run

import "github.com/vitft/vitft/engine/metric"

// Pictures are what the report shows of photos and their features: so few of them that the file stays small, whatever
// the run was made of, so that the report can be written anew when the photos are gone.
type Pictures struct {
	Photos []Photo `json:"photos"`
	Map    Map     `json:"map"`
}

// Photo is a small copy of an image.
type Photo struct {
	Set  string `json:"set"`
	Path string `json:"path"`
	// Label is its class.
	Label string `json:"label"`
	JPEG  []byte `json:"jpeg,omitempty"`
	Why   string `json:"why,omitempty"` // there is no copy
}

// Map is where images lie along the two directions in which their features differ most.
type Map struct {
	Of       int              `json:"of"`       // images, of which the points are a part
	Variance [2]metric.Number `json:"variance"` // each direction's share
	Points   []Point          `json:"points"`
}

// Point is an image of predictions.csv on the map.
type Point struct {
	Path string  `json:"path"`
	X    float32 `json:"x"`
	Y    float32 `json:"y"`
}
