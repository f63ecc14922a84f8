"""Web: the HTTP door, its guards and the settings of what stands behind it; without Ray."""
