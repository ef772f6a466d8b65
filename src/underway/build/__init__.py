"""From a project to a release: what is planned, what starts, and the build itself."""
