class Room:
    made = 0

    def __init__(self, name):
        self.name, self.members, self.topic = name, [name], "none"

    def show(self):
        return "B", self.name, self.topic

    @staticmethod
    def code_change(old_version, state, extra):
        state.pop("old")
        return {**state, "topic": (str(old_version), extra, STEP, helper(state)), "name": state["name"].upper()}


class Vip(Room):
    def __init__(self, name):
        super().__init__(name)
        self.bonus = 5

    @staticmethod
    def code_change(old_version, state, extra):
        return {**state, "bonus": state["bonus"] * 2, "seen": state["name"]}


class Point:
    __slots__ = ("__weakref__", "x", "y")

    def __init__(self, x):
        self.x = x

    @staticmethod
    def code_change(old_version, state, extra):
        if state["x"] == FAIL:
            raise ValueError("no such point")
        return {**state, "x": state["x"] + 10, "y": STEP}


class Both(Point):
    def __init__(self, x):
        self.x, self.extra = x, "extra"


STEP = 2
FAIL = 99
total = 7
rooms = [Room("a"), Vip("b")]
points = [Point(1), Both(2)]


def helper(state):
    return "B " + ADDED


ADDED = "added"


def code_change(old_version, state, extra):
    return {**state, "total": state["total"] + state["STEP"]}
