"""Compiled kernels. Importing one of these modules imports numba; each has a plain twin one level up."""
