"""The lake: what the stores held, run by run, as Delta tables by bucket."""
