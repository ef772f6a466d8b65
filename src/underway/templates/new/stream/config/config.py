"""Configuration at build: the same in every copy of the release, so it holds no secret and reads no environment."""

from underway_runtime import config

config("underway_runtime", stop_timeout=20)
