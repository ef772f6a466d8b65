"""What is tried before a version is installed."""
