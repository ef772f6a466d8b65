"""An office, by FastAPI, with settings that are made when they are first asked for."""
