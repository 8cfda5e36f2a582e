package device_test

import (
	"context"
	"fmt"
	"log"

	"github.com/vitft/vitft/engine/device"
	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/setting"
)

// Where models run is said once and given to whatever opens them.
func ExampleOptions() {
	o := device.Options{Provider: "cpu"}
	if err := setting.Complete(o.Fields()); err != nil { // what flags and files say is checked
		log.Fatal(err)
	}
	if err := o.Load(event.Events{}); err != nil { // once for the process
		log.Fatal(err)
	}
	session := o.Session("") // for onnx.NewImageModel and its kin
	fmt.Println(session.Provider, session.Threads)
	// Output: cpu 0
}

// What `vitft doctor` shows.
func ExampleDiagnose() {
	d, err := device.Diagnose(context.Background(), device.DiagnoseOptions{})
	if err != nil {
		log.Fatal(err) // nothing can run, and why
	}
	for _, p := range d.Providers[:1] { // cuda comes next
		fmt.Println(p.Provider, p.Works)
	}
	// Output: cpu true
}
