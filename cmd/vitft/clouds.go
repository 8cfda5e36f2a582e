//go:build !slim

package main

import _ "github.com/vitft/vitft/engine/feature/bucket/cloud" // s3://, gs://, azblob://
