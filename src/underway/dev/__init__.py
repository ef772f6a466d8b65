"""A project while somebody works on it."""
