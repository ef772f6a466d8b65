"""The trial of a plan: what the rules propose is tried in processes of both releases, and compared with a fresh start."""
