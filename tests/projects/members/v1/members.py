class Room:
    made = 0

    def __init__(self, name):
        self.name, self.members, self.old = name, [name], 1

    def show(self):
        return "A", self.name


class Vip(Room):
    def __init__(self, name):
        super().__init__(name)
        self.bonus = 5


class Point:
    __slots__ = ("__weakref__", "x", "y")

    def __init__(self, x):
        self.x = x


class Both(Point):
    def __init__(self, x):
        self.x, self.extra = x, "extra"


STEP = 1
total = 7
rooms = [Room("a"), Vip("b")]
points = [Point(1), Both(2)]


def helper(state):
    return "A"
