"""The parent of a node, whose pid never changes. Small: it imports nothing but modules that are built in, or nearly so."""
