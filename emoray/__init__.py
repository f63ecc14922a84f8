"""emoray: an emotional music synthesiser on Ray."""
