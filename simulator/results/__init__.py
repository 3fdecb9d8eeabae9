"""Run and sweep folders: what a simulation leaves behind.

Start at `run_folder.py`, then `read.py`. No torch and no SimPy in here, so that the dashboard and
`laser-ab report` start at once.
"""
