"""What stands beside runs: answers to what was asked of them later, and what the project itself measured.

Start at `asked.py`.
"""
