"""Configuration at boot, on the machine where the release runs."""

from underway_runtime import config, env

# Where it listens is in pyproject.toml; a host may say another address.
if address := env("APP_NAME_LISTEN", ""):
    config("app_name", listen=[address])
