"""Trained models at work: whole volumes in, whole volumes out, and how far to trust them."""
