package dataset

import (
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestScan(t *testing.T) {
	root := tree(t, "m.csv|path,label\na.png,x\ngone.png,x\nb.png,y\ndir.png,y\nempty.png,y\n", "a.png", "b.png",
		"dir.png/", "empty.png|")
	d, _ := mustOpen(t, filepath.Join(root, "m.csv"), Options{})
	for _, workers := range []int{0, 1, 8} {
		var last, calls int
		s, err := d.Scan(t.Context(), ScanOptions{Workers: workers, Progress: func(done, total int) {
			if done != last+1 || total != 5 {
				t.Errorf("progress %d of %d after %d", done, total, last)
			}
			last = done
			calls++
		}})
		if err != nil {
			t.Fatal(err)
		}
		if calls != 5 {
			t.Errorf("%d progress calls", calls)
		}
		if s.IDs[0] != sha256.Sum256([]byte("a.png")) || s.IDs[2] != sha256.Sum256([]byte("b.png")) {
			t.Error("wrong hash")
		}
		if !slices.Equal(s.Readable(), []int{0, 2}) || len(s.Unreadable) != 3 {
			t.Fatalf("readable %v, unreadable %v", s.Readable(), s.Unreadable)
		}
		gone := s.Unreadable[0]
		if gone.Index != 1 || !strings.HasSuffix(gone.Path, "gone.png") || !errors.Is(gone.Err, fs.ErrNotExist) {
			t.Errorf("unreadable %+v", gone)
		}
		if e := s.Unreadable[2].Err; e.Error() != "empty file" {
			t.Errorf("empty file: %v", e)
		}
		if got := d.Select(s.Readable()).Counts(); !slices.Equal(got, []int{1, 1}) {
			t.Errorf("counts %v", got)
		}
	}
}

func TestScanCancelled(t *testing.T) {
	d, _ := mustOpen(t, tree(t, "a/1.png", "a/2.png", "b/1.png"), Options{})
	ctx, cancel := context.WithCancel(t.Context())
	_, err := d.Scan(ctx, ScanOptions{Workers: 1, Progress: func(done, _ int) {
		cancel()
		if done > 1 {
			t.Error("went on after being cancelled")
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestCheckContent(t *testing.T) {
	train, _ := mustOpen(t, tree(t, "a/1.png|one", "a/2.png|two", "a/3.png|one", "b/1.png|two", "b/2.png|three"),
		Options{})
	test, _ := mustOpen(t, tree(t, "a/9.png|new", "b/9.png|three", "b/8.png|"), Options{Classes: train.Classes})
	scan := func(d *Dataset) *Scan {
		s, err := d.Scan(t.Context(), ScanOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	findings := CheckContent(train, scan(train))
	wantFindings(t, findings, SameContent, LabelConflict)
	if !strings.HasSuffix(findings[0].Items[0], "3.png") || !strings.Contains(findings[1].Items[0], "1.png (b)") {
		t.Errorf("%+v", findings)
	}
	findings = CheckLeak(train, scan(train), test, scan(test))
	wantFindings(t, findings, Leak)
	if len(findings[0].Items) != 1 || !strings.Contains(findings[0].Items[0], "9.png") {
		t.Errorf("%+v", findings)
	}
	wantFindings(t, CheckContent(test, scan(test)))
	test.Name = train.Name // as a fraction held out has it
	if findings = CheckLeak(train, scan(train), test, scan(test)); !strings.Contains(findings[0].Message,
		"held out of "+train.Name) {
		t.Errorf("%+v", findings)
	}
	if findings = CheckLeak(train, scan(train), train, scan(train)); !strings.Contains(findings[0].Message,
		"all 5 images to judge are those of the training set "+train.Name) {
		t.Errorf("%+v", findings)
	}
}
