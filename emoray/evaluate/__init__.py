"""Evaluate: how good is a checkpoint, in figures."""
