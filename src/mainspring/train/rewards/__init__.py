"""What an answer is worth: one file a kind, listed in kinds.py."""
