package engine

import (
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestConfigSurvivesYAML(t *testing.T) {
	c := Config{Train: "photos", Val: "0.1", Imbalance: "exp:50", MaxUnreadable: new(0.0), Training: Training{Loss: "vs", Tau: new(0.0), Seed: 1 << 63}}
	c.EnsureDefaults()
	text, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	var back Config
	if err := yaml.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	back.EnsureDefaults()
	back.Out = c.Out
	if !reflect.DeepEqual(back, c) {
		t.Errorf("came back as %+v, was %+v\n%s", back, c, text)
	}
	for _, key := range ConfigKeys() {
		optional := key == "train" || key == "test" || key == "val" || key == "imbalance" || key == "preprocess"
		if !optional && !strings.Contains(string(text), "\n"+key+":") && !strings.HasPrefix(string(text), key+":") {
			t.Errorf("the printed configuration lacks %s", key)
		}
	}
}

func TestValidateReportsEveryFault(t *testing.T) {
	c := DefaultConfig()
	if err := c.Validate(); err != nil {
		t.Fatalf("the defaults are refused: %v", err)
	}
	c.Batch, c.Threads, c.Provider, c.Val, c.Imbalance = 0, -1, "tpu", "2", "exp"
	c.Loss, c.Epochs, c.LR = "hinge", -1, -2
	err := c.Validate()
	if KindOf(err) != KindConfig {
		t.Fatalf("%v is no configuration error", err)
	}
	for _, name := range []string{"batch", "threads", "provider", "val", "imbalance", "hinge", "epochs", "learning rate"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s is wrong, too, but the error does not say so: %v", name, err)
		}
	}
}
