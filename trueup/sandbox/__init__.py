"""The sandbox: an embedded PostgreSQL, a Stripe that answers on loopback, and a fleet of accounts to try things on."""
