"""The models trained and compared on generated and real logs: tables, the study, the speed of training.

Start at `table.py`; study.py spreads the larger study over GPUs, as study_plan.py lists it.
"""
