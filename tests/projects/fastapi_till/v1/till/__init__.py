"""A till, by FastAPI: models within models, and dependencies of dependencies, of several modules."""
