"""Configuration at boot, on the machine where the release runs."""

from underway_runtime import config, env

config("app_name", listen=[env("APP_NAME_LISTEN", "tcp://127.0.0.1:8000")])
