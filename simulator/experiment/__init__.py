"""Configuration, assignment and the run itself."""
