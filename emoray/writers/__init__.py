"""Writers: notes to files that people open."""
