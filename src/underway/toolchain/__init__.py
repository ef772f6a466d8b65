"""What builds stand on: uv, interpreters, and the cache."""
