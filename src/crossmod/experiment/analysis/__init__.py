"""Why synthetic slices help or do not."""
