"""Two releases as directories -> how a node comes from one to the other; executes nothing of either."""
