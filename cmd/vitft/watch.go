package main

import (
	"errors"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/engine/watch"
	"github.com/vitft/vitft/head"
)

// watchField is the setting of commands that can be watched.
func watchField(addr *string) setting.Field {
	return setting.Text("watch", addr, "", nil, "show the work in a browser while it is going, at this address of "+
		"this machine, such as localhost:8081; port 0 is a free one").Here()
}

// watched does work into a folder and, if there is an address, shows it there.
func (a *app) watched(addr, dir string, work func(ev event.Events, epoch func(head.Epoch)) error) error {
	ev := a.events()
	if addr == "" {
		return work(ev, a.bars.epoch)
	}
	w, err := watch.Listen(addr, dir)
	if err != nil {
		return err
	}
	ev.Info("watch it", "at", w.URL())
	err = work(w.Events(ev), func(e head.Epoch) {
		w.Epoch(e)
		a.bars.epoch(e)
	})
	return errors.Join(err, w.End(err))
}
