"""A release on disk: what build and run both name. Imports nothing of ours."""
