package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// power is a power of ten.
func power(n int) string {
	return "10" + string([]rune("⁰¹²³⁴⁵⁶⁷⁸⁹")[int(math.Round(math.Log10(float64(n))))])
}

// two are the first two digits of a number that counts more than that.
func two(v float64) string {
	if v == 0 {
		return "0"
	}
	if v < 10 {
		return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0")
	}
	unit := math.Pow(10, math.Floor(math.Log10(v))-1)
	return fmt.Sprintf("%.0f", math.Round(v/unit)*unit)
}

// scaled is a number with two digits and the first unit that leaves fewer than three before the point.
func scaled(v, step float64, units ...string) string {
	i := 0
	for ; v >= 0.9995*step && i < len(units)-1; i++ {
		v /= step
	}
	return two(v) + units[i]
}

func amount(v float64) string { return scaled(v, 1000, "", " k", " M", " G") }

func size(bytes float64) string { return scaled(bytes, 1000, " B", " kB", " MB", " GB", " TB") }

func cents(v float64) string { return fmt.Sprintf("%.3f", v) }

// span is a time.
func span(seconds float64) string {
	switch {
	case seconds < 120:
		return two(seconds) + " s"
	case seconds < 2*3600:
		return two(seconds/60) + " min"
	case seconds < 48*3600:
		return two(seconds/3600) + " h"
	}
	return two(seconds/86400) + " d"
}
