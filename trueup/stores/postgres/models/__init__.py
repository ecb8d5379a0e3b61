"""The one source of all tables: SQLAlchemy models, to the letter of docs/contract/STORES.md.

`cf_prod`, `billing_prod` and `subs_api` hold the stores' own tables, which the auditor never makes in production (the
sandbox and the tests do); `auditor` holds schema trueup, which `trueup init-db` makes. Columns are null-able unless
they are a key: no more is promised to us, and drift is what we look for.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import MetaData

from trueup.stores.postgres.models.base import AUDITOR_SCHEMA as AUDITOR_SCHEMA
from trueup.stores.postgres.models.base import Auditor as Auditor
from trueup.stores.postgres.models.base import BillingProd as BillingProd
from trueup.stores.postgres.models.base import CfProd as CfProd
from trueup.stores.postgres.models.base import SubsApi as SubsApi
from trueup.stores.postgres.models.billing_prod import Charge as Charge
from trueup.stores.postgres.models.billing_prod import CreditNote as CreditNote
from trueup.stores.postgres.models.billing_prod import Invoice as Invoice
from trueup.stores.postgres.models.billing_prod import LedgerDunningState as LedgerDunningState
from trueup.stores.postgres.models.billing_prod import Schedule as Schedule
from trueup.stores.postgres.models.cf_prod import Account as Account
from trueup.stores.postgres.models.cf_prod import Entitlement as Entitlement
from trueup.stores.postgres.models.cf_prod import Product as Product
from trueup.stores.postgres.models.subs_api import SubsAccount as SubsAccount
from trueup.stores.postgres.models.subs_api import SubsCustomer as SubsCustomer
from trueup.stores.postgres.models.subs_api import SubsDunning as SubsDunning
from trueup.stores.postgres.models.subs_api import SubsMandate as SubsMandate
from trueup.stores.postgres.models.subs_api import SubsStuckEvent as SubsStuckEvent

STORE_METADATA: Final[dict[str, MetaData]] = {
    "cf_prod": CfProd.metadata,
    "billing_prod": BillingProd.metadata,
    "subs_api": SubsApi.metadata,
}
"""Database → the metadata of the stores' tables in it."""

DATABASE_OF: Final[dict[str, str]] = {
    table.name: database for database, metadata in STORE_METADATA.items() for table in metadata.tables.values()
}
"""PostgreSQL table of the stores → the database it is in."""
