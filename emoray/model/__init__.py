"""Model: windows to a trained network and its checkpoint."""
