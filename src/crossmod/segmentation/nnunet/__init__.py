"""nnU-Net as the segmenter, in a separate environment."""
