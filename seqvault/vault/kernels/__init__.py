"""Compiled kernels. Importing one of these modules imports numba; each has a plain numpy twin one level up."""
