"""Run and sweep folders: what a simulation leaves behind. Start reading at `run_folder.py`.

No torch and no SimPy in here, so that the dashboard and `laser-ab report` start at once.
"""
