"""The statistics of a blind reading: from answers with their key to tables, figures and words."""
