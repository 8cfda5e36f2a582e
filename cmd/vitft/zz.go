package main

import "github.com/vitft/vitft/engine/report"

var _ = report.X
