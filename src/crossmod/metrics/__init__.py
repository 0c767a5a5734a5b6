"""Metrics of images and of segmentations."""
