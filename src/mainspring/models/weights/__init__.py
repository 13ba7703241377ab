"""Weight files: one module a format, each giving published names, shapes and tensors."""
