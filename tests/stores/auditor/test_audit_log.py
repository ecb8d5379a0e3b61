"""The audit log: chained, signed, append-only; whatever is changed in it is found, and where."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, text

from tests.stores.apply.planting import as_owner, sql
from trueup.stores.auditor.audit_log import (
    AuditorKey,
    Entry,
    LogVerdict,
    append,
    auditor_key,
    entry_hash,
    note_head,
    noted_heads,
    verify_log,
)
from trueup.stores.auditor.connection import writing
from trueup.stores.auditor.keys import new_key
from trueup.stores.auditor.tables import MAY_CHANGE, auditor_tables
from trueup.stores.errors import PrivilegeMissing
from trueup.stores.settings import Settings

NEEDS_DATABASES = ("subs_api",)

AT = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)


def write(settings: Settings, count: int = 3, *, noted: bool = True) -> None:
    """One batch of entries."""
    entries = [
        Entry(
            "ada", "applied", plan_id="p", change_id=f"c{n}", account_id=f"a{n}", table="subs_dunning", key=f"a{n}",
            column="state", before='"grace"', after='"good_standing"', event_ids=("evt_1", "evt_2"),
            reconciled_at=AT, detail={"codes": ["DUN_STUCK_AFTER_PAYMENT"], "é": "ü"},
        )
        for n in range(count)
    ]  # fmt: skip
    with writing(settings) as connection:
        with connection.begin():
            head = append(connection, auditor_key(settings), entries, AT)
        if noted:
            note_head(settings, head)


def verdict(settings: Settings, *, heads: bool = False) -> LogVerdict:
    with writing(settings) as connection:
        trusted = frozenset({auditor_key(settings).public})
        return verify_log(connection, trusted, noted_heads(settings) if heads else None)


def broken(settings: Settings, **options: bool) -> tuple[int, str]:
    found = verdict(settings, **options).broken
    assert found is not None
    return found.number, found.what


def test_a_chain_that_nobody_touched_holds(settings: Settings) -> None:
    write(settings)
    write(settings, 1)

    found = verdict(settings, heads=True)

    assert (found.entries, found.heads, found.holds) == (4, 2, True)


def test_an_empty_log_holds(settings: Settings) -> None:
    assert verdict(settings).holds


OTHER: dict[str, Any] = {
    "number": "number + 100", "at": "at + interval '1 microsecond'", "actor": "'eve'", "action": "'conflict'",
    "plan_id": "'q'", "change_id": "NULL", "account_id": "'a9'", '"table"': "'subs_account'", "key": "'b'",
    '"column"': "'reason'", "before": "'\"gracf\"'", "after": "'null'", "event_ids": "ARRAY['evt_1']",
    "reconciled_at": "NULL", "detail": "detail || ' '", "is_head": "NOT is_head",
    "previous_hash": "reverse(previous_hash)", "hash": "reverse(hash)", "signer": "'x'", "signature": "'x'",
}  # fmt: skip


def owned(settings: Settings) -> Settings:
    """Written to by whoever owns the tables."""
    return settings.model_copy(update={"subs_api_writer_url": settings.subs_api_url})


def broken_by(connection: Connection, key: str, statement: str, **given: Any) -> int | None:
    """Where the chain breaks if the owner of the table does this; it is undone again."""
    with connection.begin() as transaction:
        connection.execute(text("ALTER TABLE trueup.audit_log DISABLE TRIGGER ALL"))
        connection.execute(text(statement), given)
        found = verify_log(connection, frozenset({key})).broken
        transaction.rollback()
    return found.number if found else None


def test_a_change_of_any_column_is_found_at_its_entry(settings: Settings) -> None:
    write(settings)
    write(settings)
    key = auditor_key(settings).public
    with writing(owned(settings)) as connection:
        for column, other in OTHER.items():
            change = f"UPDATE trueup.audit_log SET {column} = {other} WHERE number = 5"
            assert broken_by(connection, key, change) == 5, column


def test_every_byte_of_an_entry_counts(settings: Settings) -> None:
    write(settings)
    key = auditor_key(settings).public
    columns = ("actor", "key", "after", "detail", "previous_hash", "hash", "signer", "signature")
    (row,) = sql(settings, f"SELECT {', '.join(columns)} FROM trueup.audit_log WHERE number = 3")
    with writing(owned(settings)) as connection:
        for column, content in zip(columns, row, strict=True):
            change = f"UPDATE trueup.audit_log SET {column} = :spoilt WHERE number = 3"
            for place in range(len(content)):
                other = "A" if content[place] != "A" else "B"
                spoilt = content[:place] + other + content[place + 1 :]
                assert broken_by(connection, key, change, spoilt=spoilt) == 3, (column, place)


def test_a_changed_entry_whose_hash_was_made_to_fit_breaks_at_the_next(settings: Settings) -> None:
    write(settings)
    (row,) = sql(settings, "SELECT * FROM trueup.audit_log WHERE number = 1")
    forged = entry_hash({**dict(zip(row._fields, row, strict=True)), "actor": "eve"})
    as_owner(settings, "UPDATE trueup.audit_log SET actor = 'eve', hash = :forged WHERE number = 1", forged=forged)

    assert broken(settings) == (2, "does not follow the entry before it: its previous_hash is another")


def test_an_entry_that_was_removed_is_missed(settings: Settings) -> None:
    write(settings, 5)
    as_owner(settings, "DELETE FROM trueup.audit_log WHERE number = 3")

    assert broken(settings) == (3, "is gone: the next entry is 4")


def test_an_end_that_was_cut_off_within_a_batch_is_missed(settings: Settings) -> None:
    write(settings, 5)
    as_owner(settings, "DELETE FROM trueup.audit_log WHERE number > 3")

    assert broken(settings) == (4, "is gone: the last entry is not the head of its batch")


def test_a_whole_batch_that_was_cut_off_is_missed_by_the_noted_heads(settings: Settings) -> None:
    write(settings)
    write(settings)
    as_owner(settings, "DELETE FROM trueup.audit_log WHERE number > 3")

    assert verdict(settings).holds
    assert broken(settings, heads=True) == (4, "is gone: head 6 was noted when it was written")


def test_a_log_that_was_rewritten_with_another_key_is_not_trusted(settings: Settings) -> None:
    stranger = new_key()
    with writing(settings) as connection, connection.begin():
        append(connection, AuditorKey(stranger, frozenset({stranger.public})), [Entry("eve", "applied")], AT)

    assert broken(settings) == (1, f"is signed by a key that is not the auditor's ({stranger.public})")


def test_a_log_that_was_rewritten_with_our_key_is_seen_by_the_noted_heads(settings: Settings) -> None:
    write(settings, 1)
    as_owner(settings, "DELETE FROM trueup.audit_log")
    write(settings, 2, noted=False)

    assert verdict(settings).holds
    assert broken(settings, heads=True) == (1, "was rewritten: another hash was noted when it was written")


def as_replica(settings: Settings, statement: str) -> None:
    """As the owner, in a session in which ordinary triggers do not fire."""
    with writing(settings.model_copy(update={"subs_api_writer_url": settings.subs_api_url})) as connection:
        connection.execute(text("SET session_replication_role = replica"))
        connection.execute(text(statement))


def test_the_past_cannot_be_rewritten_even_by_the_owner(settings: Settings) -> None:
    for table in auditor_tables():
        column = sql(
            settings,
            "SELECT column_name FROM information_schema.columns WHERE table_schema = 'trueup'"
            f" AND table_name = '{table}' AND is_identity = 'NO' ORDER BY ordinal_position LIMIT 1",
        )[0][0]
        rewriting = ["DELETE FROM {}", "TRUNCATE {}"]
        rewriting += [f'UPDATE {{}} SET "{column}" = "{column}"'] if table not in {*MAY_CHANGE, "kill_switch"} else []
        for statement in rewriting:
            with pytest.raises(PrivilegeMissing, match="append-only"):
                as_replica(settings, statement.format(f"trueup.{table}"))


def test_heads_of_another_database_under_the_same_home_say_nothing_of_this_one(settings: Settings) -> None:
    write(settings)
    elsewhere = settings.model_copy(update={"subs_api_writer_url": "postgresql+psycopg://w@elsewhere/subs_api"})

    assert len(noted_heads(settings)) == 1
    assert noted_heads(elsewhere) == {}


def test_writers_at_once_make_one_chain(settings: Settings) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: write(settings, 2, noted=False), range(12)))

    found = verdict(settings)
    assert (found.entries, found.holds) == (24, True)


def test_a_rollback_leaves_no_gap(settings: Settings) -> None:
    with writing(settings) as connection:
        transaction = connection.begin()
        append(connection, auditor_key(settings), [Entry("ada", "applied")], AT)
        transaction.rollback()
    write(settings, 1)

    assert (verdict(settings).entries, verdict(settings).holds) == (1, True)
