"""What users say of answers."""
