"""Distributions on their way into a release: collected, built, laid out."""
