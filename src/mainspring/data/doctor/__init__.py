"""Faults that ruin a training run without an error: one file a fault, base.py says what they share."""
