"""What the store benchmarks share: generated histories, the engines that are compared, the rival in C++.

Start at `engines.py`; rocks.py talks to the program that `make bench-deps` builds of rocks.cpp.
"""
