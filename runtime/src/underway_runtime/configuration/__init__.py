"""Configuration: read, resolved, checked, explained."""
