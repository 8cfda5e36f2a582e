package engine

import (
	"context"

	"github.com/vitft/vitft/engine/event"
	"github.com/vitft/vitft/engine/setting"
	"github.com/vitft/vitft/models"
)

// PullOptions say which backbone to fetch, and how.
type PullOptions struct {
	Name    string // that models.Hub knows, or OWNER/REPOSITORY[:FILE.onnx], with @REVISION if wanted
	Offline bool   // ask nobody: check what is here
	Update  bool   // take a file that changed on the hub since the first pull
}

// Fields declares the settings.
func (o *PullOptions) Fields() []setting.Field {
	return []setting.Field{
		setting.Flag("offline", &o.Offline, "ask nobody: check what is here (also HF_HUB_OFFLINE=1)").Here(),
		setting.Flag("update", &o.Update, "take a file that changed on the hub since the first pull").Here(),
	}
}

// Pull fetches a backbone from the Hugging Face hub, or checks the one that is here.
func Pull(ctx context.Context, o PullOptions, ev event.Events) (models.Pulled, error) {
	hub := models.Hub{
		Offline: o.Offline, Update: o.Update,
		Progress: func(file string, done, total int64) { ev.Report(event.Pull, file, int(done), int(total)) },
		Note:     func(text string) { ev.Warn(text) },
	}
	return hub.Pull(ctx, o.Name)
}
