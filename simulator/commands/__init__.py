"""The commands of `laser-ab`, one module each. Start at `simulator/cli.py`.

Command modules import nothing heavy at the top: `laser-ab --help` reads all of their signatures.
"""
