"""An upgrade done once before it is done for real: traffic, recorded or written, before and after it, and answers compared."""
