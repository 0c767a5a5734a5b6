"""Networks, losses and families that turn one modality into the other."""
