"""Parts of pages with a question of their own: the effect by day, for whom, through what, designs, peeking.

Start at `answers.py`.
"""
