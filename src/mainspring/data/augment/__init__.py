"""New documents from old ones, one file a kind: base.py says what they share."""
