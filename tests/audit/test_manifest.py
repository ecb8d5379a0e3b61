"""The manifest: written first, read by every step, and deaf to what happens to the settings meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from trueup.audit.inputs import open_run
from trueup.audit.manifest import Manifest
from trueup.audit.terms import Terms
from trueup.stores.errors import SettingsError
from trueup.stores.settings import Settings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FLEET = Terms()


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    """Settings that lead to no store."""
    return Settings(home=tmp_path / "home", policy=tmp_path / "policy.toml")


def write_policy(settings: Settings, text: str) -> None:
    assert settings.policy is not None
    settings.policy.write_text(text, encoding="utf-8")


EARLIER = "2026-02-01T00:00:00Z"


@pytest.mark.parametrize("terms", [FLEET, Terms(accounts=("b", "a")), Terms(buckets=(3, 1), as_of=EARLIER)])
def test_a_manifest_is_read_as_it_was_written(here: Settings, tmp_path: Path, terms: Terms) -> None:
    write_policy(here, "grace_days = 3\n")
    manifest = terms.manifest(here, "run", NOW)
    manifest.write(tmp_path)

    assert Manifest.read(tmp_path) == manifest


def test_a_policy_that_is_edited_while_a_run_goes_on_changes_nothing_of_it(here: Settings) -> None:
    write_policy(here, "grace_days = 3\n")
    first = open_run(here, "run", NOW, FLEET)
    write_policy(here, "grace_days = 9\n")
    later = open_run(here, "run", NOW, FLEET)

    assert later.policy == first.policy
    assert later.policy.grace_days == 3
    assert open_run(here, "another", NOW, FLEET).policy.grace_days == 9


def test_a_run_that_goes_on_from_another_keeps_its_terms(here: Settings) -> None:
    write_policy(here, "")
    parent = open_run(here, "parent", NOW, Terms(accounts=("a",), as_of="2026-02-01T00:00:00Z"))
    child = open_run(here, "child", NOW, FLEET, parent_run_id="parent", reads_stores=False)

    assert (child.scope, child.as_of, child.manifest.base_run_id) == (parent.scope, parent.as_of, "parent")
    assert child.manifest.reading_run_id == "parent"


def test_all_faults_of_a_launch_are_named_at_once(here: Settings) -> None:
    write_policy(here, "grace_days = -1\n")
    terms = Terms(accounts=("a",), accounts_file="/nowhere", buckets=(99,), as_of="Tuesday")
    with pytest.raises(SettingsError) as refused:
        terms.manifest(here, "run", NOW)

    for fault in (
        "grace_days",
        "'Tuesday' is not an instant",
        "/nowhere cannot be read",
        "no bucket 99",
        "both accounts",
    ):
        assert fault in str(refused.value)


def test_only_the_whole_fleet_now_is_the_fleets(here: Settings) -> None:
    write_policy(here, "")
    asked = (FLEET, Terms(accounts=("a",)), Terms(buckets=(1,)), Terms(as_of="2026-02-01T00:00:00Z"))

    assert [terms.manifest(here, "run", NOW).is_fleets for terms in asked] == [True, False, False, False]
    assert [terms.is_of_fleet for terms in asked] == [True, False, False, False]


def test_a_changed_limit_is_another_manifest(here: Settings) -> None:
    write_policy(here, "")
    manifest = FLEET.manifest(here, "run", NOW)

    assert replace(manifest, settle_minutes=manifest.settle_minutes + 1) != manifest
