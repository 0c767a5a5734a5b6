"""nnU-Net as the segmenter, in an environment of its own."""
