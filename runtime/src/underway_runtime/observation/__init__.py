"""What a module is after its import, looked at: the graph of what can be reached from it, and how two such graphs differ."""
