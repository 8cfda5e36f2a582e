// Package kubernetes_test checks the manifests as Kubernetes reads them: put together by kustomize and decoded into the
// types of its API, which must know every field. The module is one of its own so that vitft's does not need them. What
// vitft reads in the manifests is checked in cmd/vitft.
package kubernetes_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	disruption "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	security "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// variants are the ways in which the parts go together: a name for each, and a kustomization.
var variants = map[string]string{
	"queue":   "resources: [../queue]",
	"nats":    "resources: [../queue]\ncomponents: [../nats]",
	"shards":  "resources: [../shards]",
	"all":     "resources: [../queue]\ncomponents: [../volume, ../nats, ../gpu]",
	"gpu":     "resources: [../shards]\ncomponents: [../gpu, ../volume]",
	"example": "resources: [../example]",
}

// objects are those of a variant by kind and name.
func objects(t *testing.T, name string) map[string]meta.Object {
	t.Helper()
	files := filesys.MakeFsInMemory()
	err := filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return files.WriteFile("/"+path, content)
	})
	if err == nil {
		err = files.WriteFile("/variant/kustomization.yaml", []byte(variants[name]))
	}
	if err != nil {
		t.Fatal(err)
	}
	rendered, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, "/variant")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]meta.Object{}
	for _, r := range rendered.Resources() {
		text, err := r.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		gvk := r.GetGvk()
		o, known := map[string]meta.Object{
			"v1 ServiceAccount": &core.ServiceAccount{}, "v1 ConfigMap": &core.ConfigMap{},
			"v1 Service": &core.Service{}, "apps/v1 Deployment": &apps.Deployment{},
			"apps/v1 StatefulSet": &apps.StatefulSet{},
			"batch/v1 Job":        &batch.Job{}, "policy/v1 PodDisruptionBudget": &disruption.PodDisruptionBudget{},
			"networking.k8s.io/v1 NetworkPolicy": &networking.NetworkPolicy{},
		}[gvk.ApiVersion()+" "+gvk.Kind]
		if !known {
			t.Fatalf("%s %s is nothing that is expected", gvk.ApiVersion(), gvk.Kind)
		}
		if strict, err := json.UnmarshalStrict(text, o); err != nil || strict != nil {
			t.Fatalf("%s %s: %v, %v", gvk.Kind, r.GetName(), err, strict)
		}
		all[gvk.Kind+" "+r.GetName()] = o
	}
	return all
}

// template is what an object makes pods of, nil if it makes none.
func template(o meta.Object) *core.PodTemplateSpec {
	switch o := o.(type) {
	case *apps.Deployment:
		return &o.Spec.Template
	case *apps.StatefulSet:
		return &o.Spec.Template
	case *batch.Job:
		return &o.Spec.Template
	}
	return nil
}

func TestVariants(t *testing.T) {
	want := map[string]string{
		"queue":  "ConfigMap Deployment Job Service ServiceAccount",
		"shards": "ConfigMap Job ServiceAccount",
		"nats": "ConfigMap ConfigMap Deployment Job NetworkPolicy PodDisruptionBudget Service ServiceAccount " +
			"StatefulSet",
	}
	for name := range variants {
		t.Run(name, func(t *testing.T) {
			all := objects(t, name)
			var kinds []string
			for key, o := range all {
				kind, _, _ := strings.Cut(key, " ")
				kinds = append(kinds, kind)
				switch o := o.(type) {
				case *batch.Job:
					checkJob(t, o)
				case *apps.Deployment:
					checkSelector(t, o.Spec.Selector, o.Spec.Template.Labels)
				case *apps.StatefulSet:
					checkSelector(t, o.Spec.Selector, o.Spec.Template.Labels)
					if all["Service "+o.Spec.ServiceName] == nil {
						t.Errorf("%s has no service", key)
					}
				case *core.Service:
					checkService(t, o, all)
				case *core.ConfigMap:
					for variable := range o.Data {
						if strings.Contains(variable, "TOKEN") || strings.Contains(variable, "KEY") {
							t.Errorf("%s holds a secret, %s", key, variable)
						}
					}
				}
				if pod := template(o); pod != nil {
					checkPod(t, key, pod, all)
				}
			}
			slices.Sort(kinds)
			if text, said := want[name]; said && strings.Join(kinds, " ") != text {
				t.Errorf("%v", kinds)
			}
		})
	}
}

// checkPod holds a pod to the Pod Security Standard "restricted", and its references to what there is.
func checkPod(t *testing.T, key string, pod *core.PodTemplateSpec, all map[string]meta.Object) {
	t.Helper()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := security.LevelVersion{Level: security.LevelRestricted, Version: security.LatestVersion()}
	for _, r := range evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec) {
		if !r.Allowed {
			t.Errorf("%s: %s: %s", key, r.ForbiddenReason, r.ForbiddenDetail)
		}
	}
	s := pod.Spec
	if len(s.Containers) != 1 || s.AutomountServiceAccountToken == nil || *s.AutomountServiceAccountToken ||
		s.EnableServiceLinks == nil || *s.EnableServiceLinks {
		t.Errorf("%s: one container, no token of the API, no variables of services: %+v", key, s)
	}
	if s.ServiceAccountName != "" && all["ServiceAccount "+s.ServiceAccountName] == nil {
		t.Errorf("%s: there is no account %s", key, s.ServiceAccountName)
	}
	c := s.Containers[0]
	if c.SecurityContext.ReadOnlyRootFilesystem == nil || !*c.SecurityContext.ReadOnlyRootFilesystem {
		t.Errorf("%s may write to its image", key)
	}
	if name, _, _ := strings.Cut(c.Image[strings.LastIndex(c.Image, "/")+1:], ":"); name != c.Name {
		t.Errorf("%s: image %s of container %s", key, c.Image, c.Name)
	}
	if c.Resources.Requests.Cpu().IsZero() || c.Resources.Limits.Memory().Cmp(*c.Resources.Requests.Memory()) < 0 {
		t.Errorf("%s: resources %+v", key, c.Resources)
	}
	for _, probe := range []*core.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		if port := portOf(probe); port != nil && numberOf(c, *port) == 0 {
			t.Errorf("%s: no port %v for a probe", key, port)
		}
	}
	if at := slices.Index(c.Args, "--metrics"); at >= 0 {
		metrics := numberOf(c, *portOf(c.ReadinessProbe))
		if !strings.HasSuffix(c.Args[at+1], fmt.Sprint(":", metrics)) ||
			pod.Annotations["prometheus.io/port"] != fmt.Sprint(metrics) {
			t.Errorf("%s: probes and annotations are for %d: %v", key, metrics, c.Args)
		}
	} else if c.Name == "vitft" && c.LivenessProbe != nil {
		t.Errorf("%s: nothing answers a probe", key)
	}
	mounted := map[string]bool{}
	for _, m := range c.VolumeMounts {
		mounted[m.Name] = true
	}
	for _, v := range s.Volumes {
		if !mounted[v.Name] || v.ConfigMap != nil && all["ConfigMap "+v.ConfigMap.Name] == nil {
			t.Errorf("%s: volume %s", key, v.Name)
		}
		delete(mounted, v.Name)
	}
	if o, is := all[key].(*apps.StatefulSet); is {
		for _, v := range o.Spec.VolumeClaimTemplates {
			delete(mounted, v.Name)
		}
	}
	if len(mounted) > 0 {
		t.Errorf("%s mounts %v, which are no volumes", key, slices.Collect(maps.Keys(mounted)))
	}
	for _, from := range c.EnvFrom {
		if from.ConfigMapRef != nil && all["ConfigMap "+from.ConfigMapRef.Name] == nil {
			t.Errorf("%s: there is no %s", key, from.ConfigMapRef.Name)
		}
	}
	for _, e := range c.Env {
		secret := strings.HasSuffix(e.Name, "_TOKEN")
		if secret != (e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil) {
			t.Errorf("%s: secrets, and nothing else, are from a Secret: %s", key, e.Name)
		}
	}
}

func portOf(p *core.Probe) *intstr.IntOrString {
	switch {
	case p == nil:
		return nil
	case p.HTTPGet != nil:
		return &p.HTTPGet.Port
	case p.TCPSocket != nil:
		return &p.TCPSocket.Port
	}
	return nil
}

// numberOf is the number of a container's port of that name, 0 if it has none.
func numberOf(c core.Container, port intstr.IntOrString) int32 {
	for _, p := range c.Ports {
		if p.Name == port.StrVal {
			return p.ContainerPort
		}
	}
	return 0
}

func checkSelector(t *testing.T, s *meta.LabelSelector, of map[string]string) {
	t.Helper()
	selector, err := meta.LabelSelectorAsSelector(s)
	if err != nil || selector.Empty() || !selector.Matches(labels.Set(of)) {
		t.Errorf("%v does not select %v: %v", s, of, err)
	}
}

// checkService sees to it that a service is in front of one kind of pods, whose ports it names.
func checkService(t *testing.T, s *core.Service, all map[string]meta.Object) {
	t.Helper()
	behind := 0
	for _, o := range all {
		pod := template(o)
		if pod == nil || !labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(pod.Labels)) {
			continue
		}
		behind++
		for _, p := range s.Spec.Ports {
			if numberOf(pod.Spec.Containers[0], p.TargetPort) != p.Port {
				t.Errorf("service %s: port %s", s.Name, p.Name)
			}
		}
	}
	if behind != 1 {
		t.Errorf("service %s is in front of %d", s.Name, behind)
	}
}

// checkJob holds a job to what the API server asks of one with a podFailurePolicy and, of one with indices, its command
// line to the number of them.
func checkJob(t *testing.T, j *batch.Job) {
	t.Helper()
	s := j.Spec
	if s.Template.Spec.RestartPolicy != core.RestartPolicyNever || s.PodFailurePolicy == nil ||
		s.PodReplacementPolicy == nil || *s.PodReplacementPolicy != batch.Failed {
		t.Fatalf("%s: a podFailurePolicy goes with restartPolicy Never and podReplacementPolicy Failed", j.Name)
	}
	for _, r := range s.PodFailurePolicy.Rules {
		switch {
		case (r.OnExitCodes == nil) == (len(r.OnPodConditions) == 0):
			t.Errorf("%s: a rule is about codes or about conditions: %+v", j.Name, r)
		case r.OnExitCodes != nil:
			on := r.OnExitCodes
			if on.ContainerName == nil || *on.ContainerName != s.Template.Spec.Containers[0].Name ||
				on.Operator != batch.PodFailurePolicyOnExitCodesOpIn || !slices.IsSorted(on.Values) {
				t.Errorf("%s: %+v", j.Name, on)
			}
		case r.Action != batch.PodFailurePolicyActionIgnore || r.OnPodConditions[0].Type != core.DisruptionTarget ||
			r.OnPodConditions[0].Status != core.ConditionTrue:
			t.Errorf("%s: %+v", j.Name, r)
		}
	}
	args := strings.Join(s.Template.Spec.Containers[0].Args, " ")
	if !strings.Contains(args, "--shard") {
		if s.CompletionMode != nil || s.BackoffLimit == nil {
			t.Errorf("%s: indices are for shards", j.Name)
		}
		return
	}
	if s.CompletionMode == nil || *s.CompletionMode != batch.IndexedCompletion || *s.Parallelism > *s.Completions ||
		s.BackoffLimitPerIndex == nil || s.BackoffLimit != nil ||
		!strings.HasSuffix(args, fmt.Sprint("--shard $(JOB_COMPLETION_INDEX)+1/", *s.Completions)) {
		t.Errorf("%s: %+v", j.Name, s)
	}
}

// What a user sets is what pods get, whichever parts are added: kustomize lets those speak last.
func TestExample(t *testing.T) {
	for key, o := range objects(t, "example") {
		if c, is := o.(*core.ConfigMap); is && (c.Data["VITFT_TRAIN"] != "/data/train.csv" ||
			c.Data["VITFT_READ"] != "/data" || c.Data["VITFT_QUEUE"] == "" ||
			!strings.HasSuffix(c.Data["VITFT_CACHE"], "?region=eu-central-1")) {
			t.Errorf("%s: %v", key, c.Data)
		}
	}
}

// Without a queue nobody waits for one.
func TestShardsHaveNoQueue(t *testing.T) {
	for key, o := range objects(t, "shards") {
		if c, is := o.(*core.ConfigMap); is && c.Data["VITFT_QUEUE"] != "" {
			t.Errorf("%s: %v", key, c.Data)
		}
	}
}
