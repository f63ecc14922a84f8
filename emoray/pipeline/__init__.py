"""Pipeline: where things run and how many; the only rooms with Ray in them."""
