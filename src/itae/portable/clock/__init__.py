"""Interleaved rounds, how far a number can be trusted, and who else is at work."""
