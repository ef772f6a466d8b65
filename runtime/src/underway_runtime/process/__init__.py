"""What the system gives one process."""
