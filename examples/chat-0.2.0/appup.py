"""What the rules can't know of the way from chat 0.1.0 to this version, and back."""

from importlib.metadata import version

from underway_runtime.appup import Appup, Keep

# FastAPI shows the version that `app` was made with in its documentation, and nowhere else.
AS_IT_WAS = [Keep("chat.web", "app")]

appup = Appup(version("chat"), up={"0.1.0": AS_IT_WAS}, down={"0.1.0": AS_IT_WAS})
