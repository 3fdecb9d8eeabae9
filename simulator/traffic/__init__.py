"""Request traces: the format, and where requests come from."""
