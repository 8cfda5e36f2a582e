package dataset_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/vitft/vitft/engine/dataset"
	"github.com/vitft/vitft/engine/event"
)

func ExampleOpen() {
	root, err := os.MkdirTemp("", "photos")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(root)
	for name, text := range map[string]string{
		"train.csv": "path,label\ncat/1.jpg,cat\ncat/2.jpg,cat\ndog/1.jpg,dog\n",
		"test.csv":  "path,label\nnew/1.jpg,dog\nnew/2.jpg,yak\n",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			log.Fatal(err)
		}
	}

	train, _, err := dataset.Open(filepath.Join(root, "train.csv"), dataset.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(train.Classes, train.Counts())

	_, _, err = dataset.Open(filepath.Join(root, "test.csv"), dataset.Options{Classes: train.Classes})
	var unknown *dataset.UnknownLabelError
	if errors.As(err, &unknown) {
		fmt.Println("not trained:", unknown.Labels)
	}
	// Output:
	// [cat dog] [2 1]
	// not trained: [{yak 1}]
}

func ExampleImbalance() {
	im, err := dataset.ParseImbalance("exp:100")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(im.Counts(5000, 10))
	// Output: [5000 2997 1796 1077 645 387 232 139 83 50]
}

func ExampleSources() {
	root, err := os.MkdirTemp("", "photos")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(root)
	for _, name := range []string{"cat/1.jpg", "cat/2.jpg", "cat/3.jpg", "dog/1.jpg", "dog/2.jpg"} {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o644)); err != nil {
			log.Fatal(err)
		}
	}
	s := dataset.Sources{Train: root, Val: "0.4"}
	sets, err := s.Open(context.Background(), 0, nil, event.Events{})
	if err != nil {
		log.Fatal(err)
	}
	for _, part := range sets.Parts() {
		fmt.Println(part.Name, part.Data.Classes, part.Data.Counts())
	}
	// Output:
	// train [cat dog] [2 1]
	// val [cat dog] [1 1]
}
