"""What a change between two releases is, for the person who has to decide on it."""
