"""Room 13: what is better is decided by statistics on held-out questions."""
