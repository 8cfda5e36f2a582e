package main

import (
	"archive/zip"
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/vitft/vitft/internal/testkit"
	"github.com/vitft/vitft/internal/testkit/ort"
)

// natsServer is a queue of this process, by its URL.
func natsServer(t *testing.T) string {
	t.Helper()
	queue, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true,
		StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	queue.Start()
	t.Cleanup(queue.Shutdown)
	if !queue.ReadyForConnections(10 * time.Second) {
		t.Fatal("no queue")
	}
	return queue.ClientURL()
}

// zipped is a folder as an archive.
func zipped(t *testing.T, dir string) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return testkit.WriteFile(t, filepath.Join(t.TempDir(), "photos.zip"), b.Bytes())
}

// kept are the features below a folder, by store and image.
func kept(t *testing.T, folder string) map[string]map[string]string {
	t.Helper()
	stores := map[string]map[string]string{}
	each(t, folder, func(path string) {
		if dir := filepath.Dir(path); filepath.Ext(path) == ".safetensors" {
			of := stores[filepath.Base(dir)]
			if of == nil {
				of = map[string]string{}
				stores[filepath.Base(dir)] = of
			}
			if err := rows(path, of); err != nil {
				t.Error(err)
			}
		}
	})
	return stores
}

// Two workers encode the features and tokens of a run that learns inside the backbone, and one is killed while it is at
// tokens: they are those of one machine to the byte, so that the run finds all of them and learns the same, wherever
// images and cache are.
func TestTokensOnAQueue(t *testing.T) {
	library := ort.Need(t)
	for name, prepare := range map[string]func(t *testing.T) (args []string, cache, folder string){
		"micro ViT, zip and folder, object store": func(t *testing.T) ([]string, string, string) {
			s3 := testkit.StartS3(t, "team", t.TempDir())
			return []string{"--train", zipped(t, photos(t, 8)), "--val", photos(t, 3)},
				"s3://team/vitft?endpoint=" + s3.Endpoint, filepath.Join(s3.Folder, "team", "vitft")
		},
		"ViT-Tiny, lists, folder": func(t *testing.T) ([]string, string, string) {
			if testing.Short() {
				t.Skip("runs a real ViT")
			}
			some := func(part string, n int) string {
				return testkit.Manifest(t, testkit.Unpacked(t, "caltech101", part), 2, func(int) int { return n })
			}
			cache := t.TempDir()
			return []string{"--backbone", testkit.Model(t), "--train", some("train", 8), "--val", some("test", 2),
				"--keep-tokens", "0.5"}, cache, cache
		},
	} {
		t.Run(name, func(t *testing.T) {
			args, shared, folder := prepare(t)
			here := t.TempDir()
			t.Setenv("XDG_CACHE_HOME", here)
			t.Setenv("VITFT_ORT_LIB", library.Path)
			args = append(args, "--provider", "cpu", "--adapt", "adapter", "--adapt-blocks", "2", "--quiet")
			learned := func(cache string) string {
				out := filepath.Join(t.TempDir(), "run")
				code, _, stderr := vitft(t, append([]string{"finetune", "--cache", cache, "--out", out, "--epochs",
					"1"}, args...)...)
				if code != 0 {
					t.Fatal(stderr)
				}
				return fmt.Sprintf("%x %x", testkit.ReadFile(t, out, "head.safetensors"),
					testkit.ReadFile(t, out, "adapter.safetensors"))
			}
			one := t.TempDir()
			want, alone := learned(one), kept(t, one)

			queue := []string{"--cache", shared, "--queue", natsServer(t), "--queue-patience", "1s"}
			worker := func() *exec.Cmd {
				cmd := exec.Command(os.Args[0], append([]string{"worker", "--threads", "1"}, queue...)...)
				cmd.Env = append(os.Environ(), faultVariable+"=", "XDG_CACHE_HOME="+t.TempDir())
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				return cmd
			}
			first, second := worker(), worker()
			defer func() { _, _ = second.Process.Kill(), second.Wait() }()
			killed := make(chan struct{})
			go func() {
				defer close(killed)
				for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
					records, _ := filepath.Glob(filepath.Join(folder, "jobs", "*", "done", "000000.json"))
					if len(records) > 1 { // the second job is of tokens
						break
					}
				}
				_, _ = first.Process.Kill(), first.Wait()
			}()
			submit := append(append([]string{"encode", "--task-images", "3"}, queue...), args...)
			code, said, stderr := vitft(t, submit...)
			<-killed
			if code != 0 || strings.Count(said, " 0 encoded now") != 4 || !strings.Contains(said, "val tokens: ") {
				t.Errorf("exit code %d: %s%s", code, said, stderr)
			}
			_, told, _ := vitft(t, "status", "--cache", shared)
			if strings.Count(told, " tokens before block ") != 2 || strings.Count(told, " as float16, ") != 2 {
				t.Errorf("the status is %s", told)
			}
			got := kept(t, folder)
			for store, features := range got {
				if !maps.Equal(alone[store], features) {
					t.Errorf("%d features of store %s are not the %d of one machine", len(features), store,
						len(alone[store]))
				}
			}
			if len(got) != 2 || len(alone) != 3 { // and those of the backbone with what was learnt
				t.Errorf("%d stores, of one machine %d", len(got), len(alone))
			}
			if learned(shared) != want {
				t.Error("another head or adapter is learned than on one machine")
			}
		})
	}
}
