"""Web: the HTTP server, its guards and its settings; without Ray."""
