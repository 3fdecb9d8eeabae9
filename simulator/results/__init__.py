"""Run and sweep folders: schemas, writers, readers. Imports neither torch nor SimPy."""
