"""Compose: a network, a seed and an emotion to new notes."""
