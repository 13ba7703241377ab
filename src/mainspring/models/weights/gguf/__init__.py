"""GGUF files: their header, their tensors, and what each architecture's converter made of a published model."""
