"""Bringing a release to hosts over SSH, and starting it there."""
