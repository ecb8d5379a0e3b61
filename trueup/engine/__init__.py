"""The engine: what an account's dunning state should be, and where the stores disagree with it.

Frames go in, frames come out. Nothing in this package opens a connection, reads a clock, an environment variable or a
file, or draws a random number: `as_of` and `policy` are arguments. It never imports Dagster, SQLAlchemy or Stripe.
"""
