// Package gpu measures what CUDA is worth to vitft on this machine, and checks that it gives the results of the CPU.
// bench/gpu/run starts it; docs/gpu.md says how, and what the figures mean.
package gpu
