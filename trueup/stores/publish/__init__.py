"""Publishing: the outbox's events, sent to a webhook and a message broker."""
