"""Room 5: small trainable rewrites of a model."""
