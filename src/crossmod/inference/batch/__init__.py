"""Many patients through one model."""
