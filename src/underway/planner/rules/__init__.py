"""One change -> verdict and reason; a file per family. docs/explanation/upgrades.md has them as a table."""
