"""Read on the machine that runs the release, at every boot: CHAT_LISTEN="tcp://0.0.0.0:80 unix:///run/chat.sock"."""

from underway_runtime import config, env

if listen := env("CHAT_LISTEN", ""):
    config("chat", listen=listen.split())
