"""How far a translation can be trusted: checks, words, one page."""
