"""A depot, with settings of the environment."""
