package embedding_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/vitft/vitft/engine/embedding"
)

func Example() {
	dir, err := os.MkdirTemp("", "embeddings")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	t := &embedding.Table{
		Dim: 2,
		Rows: []embedding.Row{
			{Path: "1.jpg", Label: "cat", Split: "train"},
			{Path: "2.jpg", Label: "dog", Split: "test"},
		},
		Vectors: []float32{0.5, 1, -0.5, 2},
	}
	path := filepath.Join(dir, "features.parquet")
	if err := embedding.Write(path, t, t.Gather); err != nil {
		panic(err)
	}
	read, err := embedding.Read(path)
	if err != nil {
		panic(err)
	}
	fmt.Println(read.Rows[1].Label, read.Vectors[2:])
	// Output: dog [-0.5 2]
}
