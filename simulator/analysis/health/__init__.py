"""Is the test itself in order? Faults that an experimenter meets, found in the logs and told apart.

Start at `checks.py`.
"""
