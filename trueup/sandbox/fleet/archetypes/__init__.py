"""The kinds of accounts in the fleet, and the state that docs/contract/DUNNING.md gives each under the default policy.

An entry reads in order: a bill was finalised so many days ago, these charges were tried so many days after it, and
this is where it left the account. The default policy's attempts fall on days 0, 3, 8 and 15 of a debt; grace lasts
three days; a debt of four failures, or of fifteen days that no machine can collect, is exhausted; sixty days make it
bad debt.
"""

from __future__ import annotations

from typing import Final

from trueup.sandbox.fleet.archetypes import customers, failing, invoiced, paid, planted, waiting

ARCHETYPES: Final = {
    archetype.name: archetype
    for family in (
        paid.CLEAN,
        paid.GIVEN_BACK,
        failing.FAILING,
        customers.ONLY_THE_CUSTOMER,
        waiting.WAITING,
        invoiced.INVOICED,
        invoiced.WRITTEN_OFF,
        invoiced.CHILDREN,
        planted.ONLY_PLANTED,
    )
    for archetype in family
}
