"""Model bundles: one folder that can be given away, and opened without fear."""
