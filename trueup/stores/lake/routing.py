"""Routing: in which buckets of the lake a row is needed, so that each bucket can be computed by itself.

An account's bucket is a hash of its id, but its result depends on more than its own rows: on its parent, on accounts
that it shares a customer with, and on what is tied to the same Stripe objects. Such rows are stored in every bucket
that needs them; nearly all rows are needed in one. Stripe's objects carry no account: they find theirs through customer
and mapping, and payments through the invoice or charge they belong to. This is `trueup.stores.postgres.dependencies`,
for all buckets at once.

The buckets of a row are the bits of one integer: bit b for bucket b, and the bit after the last for bucket -1, which
holds what belongs to no account: customers without a mapping, rows without an account. Union is a bitwise or.

It is all joins and groupings over the fleet, so DuckDB does them, which puts to disk what memory does not hold
(docs/decisions/0008-routing-in-duckdb.md). A *bitmap table* has one row per id: id, bitmap. A *route table* has one row
per row of a table of the snapshot: `_row`, the ids by which other tables refer to it, `bitmap`, which they inherit, and
`_buckets`, where the row itself is needed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import polars as pl
from duckdb import DuckDBPyConnection

from trueup.contract.schemas import TABLES
from trueup.stores.dependencies import ACCOUNTS, CUSTOMERS, LINKS, TIES, Link, columns_followed
from trueup.stores.scope import NO_BUCKET

BITMAP: Final = "_buckets"
ROW: Final = "_row"  # a row's number in its table
HOME_BUCKETS: Final = "account_homes"  # every account id that a database names, in its home bucket
_ROOTS: Final = {ACCOUNTS: "account_bitmaps", CUSTOMERS: "customer_bitmaps"}


def route(db: DuckDBPyConnection, bucket_count: int) -> None:
    """Make the table HOME_BUCKETS (account_id, bucket) and, for every table of the snapshot, its route table.

    Args:
        db: where every table of the snapshot is a view, with a column `_row` that numbers its rows.
        bucket_count: at most `trueup.stores.scope.BUCKETS_MAX`.
    """
    routing = _Routing(db, bucket_count)
    routing.accounts_and_customers()
    for name, links in LINKS.items():
        routing.table(name, links)
    routing.drop_bitmaps()


def route_table(name: str) -> str:
    """The name of a table's route table."""
    return f"{name}_routes"


def places(name: str, buckets: Collection[int], bucket_count: int) -> str:
    """SQL: `_row`, `_buckets` and `bucket`, one row for each of these buckets that a row is needed in."""
    bits = ", ".join(str(_bit(bucket, bucket_count)) for bucket in buckets)
    lowest = f"bit_count({BITMAP} - 1)"  # of a power of two
    each = f"unnest(list_filter(range({bucket_count + 1}), lambda bit: ({BITMAP} >> bit) & 1 = 1))"
    return f"""
        SELECT {ROW}, {BITMAP}, CAST(if(bit = {bucket_count}, {NO_BUCKET}, bit) AS INTEGER) AS bucket
        FROM (
            SELECT {ROW}, {BITMAP}, {lowest} AS bit FROM {route_table(name)} WHERE bit_count({BITMAP}) = 1
            UNION ALL
            SELECT {ROW}, {BITMAP}, {each} AS bit FROM {route_table(name)} WHERE bit_count({BITMAP}) > 1
        )
        WHERE bit IN ({bits})"""


def bucket_of_bit(bit: pl.Expr, bucket_count: int) -> pl.Expr:
    """The bucket that a bit stands for."""
    return pl.when(bit == bucket_count).then(NO_BUCKET).otherwise(bit).cast(pl.Int32)


def _bit(bucket: int, bucket_count: int) -> int:
    return bucket_count if bucket == NO_BUCKET else bucket


class _Routing:
    """The steps, each of which makes tables that later ones lean on."""

    def __init__(self, db: DuckDBPyConnection, bucket_count: int) -> None:
        self.db = db
        self.bucket_count = bucket_count
        self.unassigned = 1 << bucket_count
        self.bitmap_tables: list[str] = []

    def accounts_and_customers(self) -> None:
        """Which buckets need an account's rows, and which a customer's."""
        self._gather("named_accounts", "account_id VARCHAR", _named())
        self._make(HOME_BUCKETS, _home_buckets(self.bucket_count))
        self.db.execute("DROP TABLE named_accounts")
        self._make_bitmaps("own", f"SELECT account_id AS id, 1::BIGINT << bucket AS bitmap FROM {HOME_BUCKETS}")
        self._make_bitmaps("with_children", _all("own"), _through("accounts", "account_id", "own", "parent_account_id"))
        mapped = _through("subs_customer", "account_id", "with_children", "stripe_customer_id")
        self._make_bitmaps("mapped", mapped)
        sharing = _through("subs_customer", "stripe_customer_id", "mapped", "account_id")
        self._make_bitmaps("account_bitmaps", _all("with_children"), sharing)
        self._make_bitmaps("customer_bitmaps", _all("mapped"), *_tied(), _orphans(self.unassigned))

    def table(self, name: str, links: Sequence[Link]) -> None:
        """A table's route table, through its links; a table without any is needed everywhere."""
        if not links:
            everywhere = (1 << (self.bucket_count + 1)) - 1
            self._make(route_table(name), f"SELECT {ROW}, {everywhere}::BIGINT AS {BITMAP} FROM {name}")
            return
        columns = dict.fromkeys(link.column for link in links)
        by = {
            column: self._bitmaps_through(name, [each for each in links if each.column == column]) for column in columns
        }
        self._route(name, by, columns_followed(name))

    def drop_bitmaps(self) -> None:
        """Make room: only HOME_BUCKETS and the route tables are for others."""
        for name in self.bitmap_tables:
            self.db.execute(f"DROP TABLE {name}")

    def _bitmaps_through(self, name: str, links: Sequence[Link]) -> str:
        """The bitmap table of what one column of a table leads to; its name."""
        if len(links) == 1 and not links[0].by_account:
            (link,) = links
            return _ROOTS.get(link.table) or self._bitmaps_of(link.table, link.to)
        made = f"{name}_through_{links[0].column}"
        self._make_bitmaps(made, *(self._ids_through(name, link) for link in links))
        return made

    def _ids_through(self, name: str, link: Link) -> str:
        """What rows of a table may follow by one of several links: id, bitmap."""
        if link.by_account:
            return _through(link.table, "account_id", "account_bitmaps", link.to)
        follows = f"{route_table(link.table)}.{link.to} = {name}.{link.column}"
        return f"{_ids(link.table, link.to)} SEMI JOIN {name} ON {follows}"

    def _route(self, name: str, by: dict[str, str], ids: tuple[str, ...] = ()) -> None:
        """The table's route table: the union of the bitmaps that its columns lead to.

        A row that leads to no account, or ought to name one and does not, is reported from bucket -1.
        """
        joins = [f"LEFT JOIN {bitmaps} AS {column}_ ON t.{column} = {column}_.id" for column, bitmaps in by.items()]
        bitmap = " | ".join(f"coalesce({column}_.bitmap, 0::BIGINT)" for column in by)
        nobodys = "t.account_id IS NULL" if "account_id" in TABLES[name].columns else "false"
        columns = "".join(f"{column}, " for column in ids)
        self._make(
            route_table(name),
            f"""
            SELECT {ROW}, {columns} bitmap, if(bitmap = 0 OR nobodys, bitmap | {self.unassigned}, bitmap) AS {BITMAP}
            FROM (
                SELECT t.{ROW}, {"".join(f"t.{column}, " for column in ids)} {bitmap} AS bitmap, {nobodys} AS nobodys
                FROM {name} AS t {" ".join(joins)}
            )""",
        )

    def _bitmaps_of(self, name: str, column: str) -> str:
        """The bitmap table of a routed table by one of its ids; its name."""
        made = f"{name}_by_{column}"
        if made not in self.bitmap_tables:
            self._make_bitmaps(made, _ids(name, column))
        return made

    def _make_bitmaps(self, name: str, *pairs: str) -> None:
        """A bitmap table: one row per id, with the union of its bitmaps."""
        self._gather("pairs", "id VARCHAR, bitmap BIGINT", pairs)
        self._make(name, "SELECT id, bit_or(bitmap) AS bitmap FROM pairs WHERE id IS NOT NULL GROUP BY id")
        self.db.execute("DROP TABLE pairs")
        self.bitmap_tables.append(name)

    def _gather(self, name: str, columns: str, queries: Sequence[str]) -> None:
        """A table of what several queries give, asked one after the other, so that each has the memory to itself."""
        self.db.execute(f"CREATE TABLE {name} ({columns})")
        for query in queries:
            self.db.execute(f"INSERT INTO {name} {query}")

    def _make(self, name: str, rows: str) -> None:
        self.db.execute(f"CREATE TABLE {name} AS {rows}")


def _named() -> list[str]:
    """The account ids of each table that names any."""
    tables = [name for name, table in TABLES.items() if "account_id" in table.columns]
    parents = "SELECT DISTINCT parent_account_id FROM accounts"
    return [parents, *(f"SELECT DISTINCT account_id FROM {name}" for name in tables)]


def _home_buckets(bucket_count: int) -> str:
    """Every account that a database names anywhere, with its bucket: `trueup.stores.scope.bucket_of`."""
    bucket = f"('0x' || substr(md5(account_id), 1, 8))::UBIGINT % {bucket_count}"
    return f"""
        SELECT account_id, CAST({bucket} AS INTEGER) AS bucket
        FROM (SELECT DISTINCT account_id FROM named_accounts WHERE account_id IS NOT NULL)"""


def _tied() -> list[str]:
    """Customers whose invoices or charges the ledger files under these accounts: id, bitmap."""
    return [
        f"""
        SELECT theirs.customer_id AS id, m.bitmap
        FROM {ledger} AS ours
        JOIN with_children AS m ON ours.account_id = m.id
        JOIN {link.table} AS theirs ON ours.{link.column} = theirs.{link.to}"""
        for ledger, links in TIES.items()
        for link in links
        if TABLES[ledger].store == "billing_prod"
    ]


def _orphans(unassigned: int) -> str:
    """Customers that no mapping of their own mode names belong to bucket -1 as well, whoever else needs them."""
    return f"""
        SELECT customer_id AS id, {unassigned}::BIGINT AS bitmap
        FROM stripe_customers AS known
        ANTI JOIN subs_customer AS mapping
        ON known.customer_id = mapping.stripe_customer_id AND known.livemode = mapping.livemode"""


def _through(table: str, via: str, bitmaps: str, to: str) -> str:
    """What the table's column `to` inherits from the bitmaps of its column `via`: id, bitmap."""
    return f"SELECT t.{to} AS id, m.bitmap FROM {table} AS t JOIN {bitmaps} AS m ON t.{via} = m.id"


def _ids(name: str, column: str) -> str:
    return f"SELECT {route_table(name)}.{column} AS id, bitmap FROM {route_table(name)}"


def _all(bitmaps: str) -> str:
    return f"SELECT id, bitmap FROM {bitmaps}"
