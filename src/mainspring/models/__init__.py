"""Room 3: architectures from parts, weights from published files."""
