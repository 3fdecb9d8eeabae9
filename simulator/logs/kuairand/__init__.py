"""KuaiRand's published CSV files as a log folder. Start reading at `importer.py`."""
