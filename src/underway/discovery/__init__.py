"""What a project that has no [tool.underway] yet says of how it is started: read from its files, nothing of it is imported or run."""
