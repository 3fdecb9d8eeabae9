"""Between Python and the kernels: arguments packed, scratch memory kept, kernels tested against their twins.

Start at `encode.py`; `selftest.py` decides whether kernels may be used.
"""
