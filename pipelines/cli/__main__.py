"""`python -m pipelines.cli`: the program `trueup` where it is not installed."""

from pipelines.cli import main

main()
