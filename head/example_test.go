package head_test

import (
	"context"
	"fmt"
	"log"

	"github.com/vitft/vitft/calib"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/head"
)

func ExampleTrain() {
	// Two classes on a line, nine samples against three.
	data := head.Data{Dim: 2, Classes: 2,
		X: []float32{
			1, 0.1, 0.9, -0.2, 1.1, 0.3, 0.8, 0, 1.2, -0.1, 1, 0.2, 0.7, -0.3, 1.3, 0.1, 0.9, 0,
			-1, 0.2, -0.8, -0.1, -1.1, 0,
		},
		Y: []int{0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1},
	}
	result, err := head.Train(context.Background(), data, head.Settings{Loss: "cvs", Epochs: 10})
	if err != nil {
		log.Fatal(err)
	}
	logits := make([]float32, 4)
	if err := result.Head.Logits(head.Blas{}, []float32{0.5, 0, -0.5, 0}, logits); err != nil {
		log.Fatal(err)
	}
	fmt.Println("0 before 1 at +0.5:", logits[0] > logits[1])
	fmt.Println("0 before 1 at −0.5:", logits[2] > logits[3])
	// Output:
	// 0 before 1 at +0.5: true
	// 0 before 1 at −0.5: false
}

func ExampleSettings_resume() {
	data := head.Data{Dim: 1, Classes: 2, X: []float32{-1, -2, 1, 2, 3}, Y: []int{0, 0, 1, 1, 1}}
	var saved *head.State
	s := head.Settings{Epochs: 6}
	s.Events.Epoch = func(e head.Epoch, state *head.State) {
		if e.Number == 4 {
			saved = state.Clone()
		}
	}
	whole, err := head.Train(context.Background(), data, s)
	if err != nil {
		log.Fatal(err)
	}
	s.Events.Epoch = nil
	s.Resume = saved
	resumed, err := head.Train(context.Background(), data, s)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the same head:", fmt.Sprint(whole.Head.W) == fmt.Sprint(resumed.Head.W))
	// Output: the same head: true
}

func ExampleSettings_Fields() {
	s := head.Settings{Loss: "ldam"}
	lr, _ := setting.Find(s.Fields(), "lr")
	fmt.Println(lr.Set("fast"))
	fmt.Println(lr.Set("0.01"), s.LR)
	s = s.WithDefaults() // those of ldam
	for _, f := range s.Fields()[:4] {
		fmt.Println(f.Key, f.Value())
	}
	// Output:
	// lr: fast is no number (above 0 and at most 1000)
	// <nil> 0.01
	// loss ldam
	// head cosine
	// scale 30
	// learn-scale false
}

func ExampleOutOfFold() {
	data := head.Data{Dim: 1, Classes: 2, X: []float32{-1, -2, -3, 1, 2, 3}, Y: []int{0, 0, 0, 1, 1, 1}}
	logits, err := head.OutOfFold(context.Background(), data, nil, head.Settings{Loss: "la", Head: "linear"}, 3)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("balanced accuracy on samples not seen:", calib.BalancedAccuracy(logits, data.Y, 2))
	// Output: balanced accuracy on samples not seen: 1
}

// A head is one of the models that the loop trains; others implement Trainable.
func ExampleLoop() {
	data := head.Data{Dim: 1, Classes: 2, X: []float32{-1, -2, 1, 2, 3}, Y: []int{0, 0, 1, 1, 1}}
	s := head.Settings{Loss: "cvs", Epochs: 6, Features: "center"}
	model, err := head.NewLinear(data, s, nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	state, err := head.Loop{Settings: s, Labels: data.Y, Classes: 2}.Run(context.Background(), model)
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range state.Params {
		fmt.Println(p.Name, p.Shape)
	}
	fmt.Println(state.History[0].Phase, state.History[5].Phase)
	// Output:
	// weight [1 2 1]
	// bias [1 2]
	// scale [1 2]
	// mla cla
}
