"""Measuring this machine: a service-time profile of an experiment's stores, transport and models.

Start at `machine.py`.
"""
