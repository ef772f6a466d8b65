"""A release that runs."""
