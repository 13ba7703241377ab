"""Who does the work of the pipeline: this process and its children, or a cluster."""
