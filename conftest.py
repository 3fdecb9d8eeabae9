"""Being here puts the checkout on the path, so that `tests/simulator` does not stand for `simulator`."""
