"""Random accounts, row by row: what `tests.strategies` builds its worlds from.

`fleet` keeps the rows, `account` makes an account, `story` what becomes of an invoice, `invoice` the Stripe side of it
with its payments, and `ledger` billing_prod's. `chances` lists what they choose from.
"""
