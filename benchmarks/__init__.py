"""asv benchmarks: `time_`, `peakmem_` and lower-is-better `track_` for training, ground truth and every method."""
