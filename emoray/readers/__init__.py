"""Readers: files from outside to notes, evidence and requests."""
