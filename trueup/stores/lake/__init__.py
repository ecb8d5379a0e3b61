"""The lake: what the stores said, run by run, as Delta tables by bucket."""
