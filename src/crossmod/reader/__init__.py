"""Blind reading: a web application that asks doctors which images are real, and the statistics of what they say."""
