"""Stripe's reader: its lists and objects, through the official SDK, as frames. Nothing here writes to Stripe."""

from trueup.stores.stripe.port import RetryPolicy
from trueup.stores.stripe.reader import read_malformed, read_stripe, with_unreadable
from trueup.stores.stripe.reading import STRIPE_TABLES

__all__ = ["STRIPE_TABLES", "RetryPolicy", "read_malformed", "read_stripe", "with_unreadable"]
