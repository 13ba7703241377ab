"""The whole thread in one command: documents in, a tuned, gated, served assistant out."""
