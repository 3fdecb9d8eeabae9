"""The commands about logs: imports, and a log set beside other days and beside a generated world.

Start at `import_log.py`.
"""
