"""Where the pipeline's documents come from: one file a kind of source."""
