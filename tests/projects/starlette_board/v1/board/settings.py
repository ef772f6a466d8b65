"""What can be set, by the environment too."""

from starlette.config import Config

config = Config()
DEBUG = config("BOARD_DEBUG", cast=bool, default=False)
LONGEST = config("BOARD_LONGEST", cast=int, default=40)
GREETING = "notices"
HOSTS = ["localhost", "127.0.0.1"]
