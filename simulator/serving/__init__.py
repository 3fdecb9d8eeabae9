"""An arm at work: store workers, batcher, scorers, deadline, ladder."""
