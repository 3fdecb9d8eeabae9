"""What LASER A/B measures of itself: a script for each claim, in folders by subject.

Start with a script's docstring; result.py is the form of what all of them print and save in results/.
"""
