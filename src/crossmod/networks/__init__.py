"""Networks of synthesis, segmentation and metrics."""
