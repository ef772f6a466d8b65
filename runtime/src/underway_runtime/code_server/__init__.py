"""The code server: what a release imports is found through its index."""
