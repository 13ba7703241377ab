"""Documents and spans that stand there more than once: one file a kind of sameness."""
