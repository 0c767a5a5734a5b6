"""Statistics over patients, folds and seeds."""
