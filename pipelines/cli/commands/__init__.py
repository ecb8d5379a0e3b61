"""The commands of `trueup`, one module per family."""
