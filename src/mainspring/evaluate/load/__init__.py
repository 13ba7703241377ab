"""Load for a server: what people ask it, asked by many at once."""
