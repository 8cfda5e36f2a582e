package csvtable_test

import (
	"errors"
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/vitft/vitft/engine/internal/csvtable"
)

func TestRead(t *testing.T) {
	var names []string
	var sum float64
	err := csvtable.Read([]byte("n,name,x\n1,\"a, b\",0.5\n2,c,\n3,d,1e999\n"), []string{"name", "n"}, nil,
		func(r *csvtable.Row) {
			names = append(names, r.Text("name")+r.Text("other"))
			if x := r.Number("x"); r.Whole("n") == 2 != math.IsNaN(x) || r.Whole("n") == 3 != math.IsInf(x, 1) {
				t.Errorf("row %d has x %v", r.Whole("n"), x)
			}
			sum += float64(r.Whole("n"))
		})
	if err != nil || strings.Join(names, ";") != "a, b;c;d" || sum != 6 {
		t.Errorf("%q, %v: %v", names, sum, err)
	}
}

func TestFaults(t *testing.T) {
	for text, want := range map[string]string{
		"": "empty", "\"": "quote", "a,a\n": "has a twice", "b\n": "has no a", "a\n1\n1,2\n": "line 3",
		"a\nno\n":              "refused",
		"a,x\n1,0\none,much\n": "line 3: a \"one\" is no whole number\nx \"much\" is no number",
	} {
		check := func(header []string) error {
			if len(header) == 1 && strings.Contains(text, "no") {
				return errors.New("refused")
			}
			return nil
		}
		err := csvtable.Read([]byte(text), []string{"a"}, check, func(r *csvtable.Row) { r.Whole("a"); r.Number("x") })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// No cell begins a formula, numbers stay numbers, and every text comes back.
func TestFormulasAreTexts(t *testing.T) {
	for text, want := range map[string]string{
		"=1+1": "'=1+1", "@sum": "'@sum", "+x": "'+x", "-rf": "'-rf", "\tx": "'\tx", "\rx": "'\rx", "-": "'-",
		"'=x": "''=x", "''=x": "'''=x", "-inf": "'-inf", "-1+2": "'-1+2", "-0x1": "'-0x1",
		"": "", "a=b": "a=b", "'tis": "'tis", "'": "'", "-0.5": "-0.5", "+3": "+3", "-1e-7": "-1e-7",
		"/p/=a.jpg": "/p/=a.jpg",
	} {
		if got := csvtable.Guard(text); got != want || csvtable.Unguard(got) != text {
			t.Errorf("%q is written as %q and comes back as %q; want %q", text, got, csvtable.Unguard(got), want)
		}
	}
}

var lines = regexp.MustCompile(`\r+\n`)

// What is written comes back, and no cell of it is a formula.
func FuzzTable(f *testing.F) {
	f.Add("=a", "'=b", "\"c,\n")
	f.Add("-1", "''", "\r")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		cells := []string{a, b, c}
		for i := range cells { // encoding/csv reads \r\n as \n
			cells[i] = lines.ReplaceAllString(cells[i], "\n")
		}
		text, err := csvtable.Write([][]string{{"a", "b", "c"}, cells})
		if err != nil {
			t.Fatal(err)
		}
		rows := 0
		err = csvtable.Read(text, []string{"a", "b", "c"}, nil, func(r *csvtable.Row) {
			rows++
			for i, name := range []string{"a", "b", "c"} {
				if r.Text(name) != cells[i] {
					t.Errorf("%q came back as %q", cells[i], r.Text(name))
				}
			}
		})
		if err != nil || rows != 1 {
			t.Errorf("%d rows, %v: %q", rows, err, text)
		}
	})
}
