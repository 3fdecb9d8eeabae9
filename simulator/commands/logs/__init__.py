"""The commands about logs: imports, and a log beside other days, a generated world, another policy.

Start at `import_log.py`.
"""
