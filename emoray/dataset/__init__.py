"""Dataset: notes to rows, features, clusters and windows."""
