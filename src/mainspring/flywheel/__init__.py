"""Room 16: what users say of answers becomes the next version, if a gate lets it pass."""
