"""Releases on their way: archives, deltas, signatures."""
