"""Compiled kernels, each with a plain numpy twin one level up. Importing one imports numba."""
