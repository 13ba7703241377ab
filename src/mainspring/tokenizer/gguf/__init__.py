"""The tokenizer that a GGUF file carries in its metadata: one module a kind."""
