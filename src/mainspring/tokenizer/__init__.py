"""Room 2: text to token ids and back."""
