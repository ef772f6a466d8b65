"""The applications of a node: started, served, stopped."""
