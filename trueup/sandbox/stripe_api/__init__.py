"""A Stripe sandbox: an HTTP server on loopback that implements Stripe's lists and retrieves.

People start it with `python -m trueup.sandbox.stripe_api`; tests use `StripeSandbox`, the demo `StripeSandboxProcess`.
What an object is made of stands in `objects.py`; what the server does with requests and switched-on faults in
`server.py`.
"""

from trueup.sandbox.stripe_api.faults import Fault, Faults
from trueup.sandbox.stripe_api.running import StripeSandbox, StripeSandboxProcess

__all__ = ["Fault", "Faults", "StripeSandbox", "StripeSandboxProcess"]
