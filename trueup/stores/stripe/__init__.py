"""Stripe's reader: its lists and objects, through the official SDK, as frames. Nothing here writes to Stripe."""

from trueup.stores.stripe.port import Patience
from trueup.stores.stripe.reader import STRIPE_TABLES, read_malformed, read_stripe, with_unreadable

__all__ = ["STRIPE_TABLES", "Patience", "read_malformed", "read_stripe", "with_unreadable"]
