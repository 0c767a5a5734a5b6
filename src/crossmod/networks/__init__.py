"""Networks of all rooms."""
