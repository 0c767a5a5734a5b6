"""Plans of several runs."""
