package sweep

import (
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/vitft/vitft/engine/inside"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/head"
)

// Recipe is all settings of a head: its own, and those of what is trained below it.
type Recipe struct {
	Head  head.Settings
	Below inside.Options
}

// Fields declares the settings.
func (r *Recipe) Fields() []setting.Field { return slices.Concat(r.Head.Fields(), r.Below.Fields()) }

// Resolver completes the settings of a point of the grid by those that all heads share, and the defaults. Of a head
// with nothing to be trained below there are no settings of that, but that it is so.
func Resolver(shared Recipe) Resolve {
	return func(point map[string]any) (Settings, error) {
		r := shared
		if err := setting.Set(r.Fields(), point); err != nil {
			return nil, err
		}
		r.Head = r.Below.Recipe(r.Head).WithDefaults()
		if err := errors.Join(setting.Complete(r.Below.Fields()), r.Head.Validate()); err != nil {
			return nil, err
		}
		values := Settings{}
		for _, f := range r.Fields() {
			values[f.Key] = f.Value()
		}
		if !r.Below.On() {
			for _, f := range r.Below.Fields()[1:] {
				delete(values, f.Key)
			}
		}
		return values, nil
	}
}

// recipe is the settings again, without those that a package has to itself.
func (s Settings) recipe() (r Recipe, err error) {
	return r, setting.Set(r.Fields(), s)
}

// Check refuses a plan with a configuration that would take more memory than there is, or more folds than samples.
func (p *Plan) Check(of head.Size) error {
	heads := 0
	for _, c := range p.Configurations {
		heads += len(c.Seeds)
	}
	for _, c := range p.Configurations {
		r, err := c.Settings.recipe()
		if err != nil {
			return err
		}
		of.Beside = min(heads, runtime.GOMAXPROCS(0))
		if r.Below.On() {
			of.Beside = 1
		}
		if err := r.Head.CheckFolds(of); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		if err := r.Head.CheckMemory(of); err != nil {
			far := of
			if far.Far = true; r.Head.CheckMemory(far) == nil {
				err = fmt.Errorf("%w; a sweep has features in memory: vitft finetune reads what does not fit from the "+
					"disk, one head at a time", err)
			}
			return fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	return nil
}

// Below calls f with everything that configurations train below their heads, each once.
func (p *Plan) Below(f func(configuration string, o inside.Options) error) error {
	seen := map[inside.Options]bool{}
	for _, c := range p.Configurations {
		r, err := c.Settings.recipe()
		if err != nil {
			return err
		}
		if !r.Below.On() || seen[r.Below] {
			continue
		}
		seen[r.Below] = true
		if err := f(c.Name, r.Below); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	return nil
}

// WithoutEffect lists the keys that are set for all heads, but in every block of the grid too.
func (x Experiment) WithoutEffect(shared Recipe) []string {
	return slices.DeleteFunc(setting.Given(shared.Fields()), func(key string) bool {
		without := slices.ContainsFunc(x.Grid, func(b Block) bool {
			return !slices.ContainsFunc(b, func(a Axis) bool { return a.Key == key })
		})
		return without || key == "seed" // that of the settings holds out --val
	})
}

// Idle lists the keys that are set, by the grid or for all heads, but read in none of its points.
func (x Experiment) Idle(shared Recipe) []string {
	read, idle := map[string]bool{}, []string{}
	for _, block := range x.Grid {
		for _, point := range block.points() {
			r := shared
			if setting.Set(r.Fields(), point) != nil { // Plan has said so
				continue
			}
			unread := append(r.Head.WithoutEffect(), r.Below.WithoutEffect()...)
			for _, key := range setting.Unusual(r.Fields(), setting.Given(r.Fields())) {
				if !slices.Contains(unread, key) {
					read[key] = true
				} else if !slices.Contains(idle, key) {
					idle = append(idle, key)
				}
			}
		}
	}
	return slices.DeleteFunc(idle, func(key string) bool { return read[key] })
}
