"""What is done to the compiled files of a release."""
