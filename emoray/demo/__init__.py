"""Demo: the embedded corpus, its seeds and its manifest."""
