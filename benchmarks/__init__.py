"""What LASER A/B measures of itself: a script for each claim, in folders by subject.

Start at `result.py`, the form of what every script prints and saves in results/; then a script's docstring.
"""
