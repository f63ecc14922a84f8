"""Batch: the files of a batch, what belongs in them and what became of each row; without Ray."""
