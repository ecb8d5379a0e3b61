"""Expectations: what a store's rows must be, as suites of Great Expectations, each table's in a file beside this one.

The suites say what docs/contract/STORES.md promises, in Great Expectations' own JSON, so that who knows that tool can
read, change and run them. Great Expectations judges PostgreSQL's tables by SQL and Stripe's lists in pandas
(`judge.py`); the same rows are swept by Polars with the rules of `trueup/contract` (`sweeping.py`), and a check fails
when either finds a bad row, or when they do not count the same. What becomes of a bad row in an audit is decided in
`trueup/contract`, not here. The checks are a job of their own: importing Great Expectations takes seconds that an audit
does not have.
"""

from checks.expectations.asset_checks import EXPECTATION_CHECKS

__all__ = ["EXPECTATION_CHECKS"]
