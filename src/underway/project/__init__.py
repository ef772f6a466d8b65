"""The project: what its files say."""
