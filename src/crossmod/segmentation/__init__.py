"""Segmentation networks, their training and prediction."""
