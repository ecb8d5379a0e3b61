"""The stores: what is read from them, the lake, and the one writer.

A retry is logged by name, number and wait. The retry library's own log would show the arguments of the call as well, on
standard output at that, and those are addresses, events and customers' rows.
"""

from __future__ import annotations

import logging

from stamina.instrumentation import RetryDetails, set_on_retry_hooks


def log_retry(details: RetryDetails) -> None:
    """Say that something is tried again, and nothing of what it is about."""
    logging.getLogger("trueup.retry").info(
        "%s failed (%s); attempt %d in %.1f s",
        details.name,
        type(details.caused_by).__name__,
        details.retry_num + 1,
        details.wait_for,
    )


set_on_retry_hooks([log_retry])
