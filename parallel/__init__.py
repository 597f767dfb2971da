"""Many processes: distributed training, work that is shared, workers of pools."""
