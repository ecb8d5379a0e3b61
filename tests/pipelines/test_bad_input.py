"""What bad input gets: a message that names it, the way out, the right exit code, and nothing written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import psycopg
import pytest

from tests.pipelines.conftest import Lab
from trueup.sandbox.stripe_api.faults import Fault
from trueup.stores.settings import libpq_url
from trueup.stores.stripe import port, reader


def test_without_any_setting_every_missing_one_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from pipelines.cli import run

    monkeypatch.chdir(tmp_path)
    code = run(["audit"])

    assert code == 2
    told = capsys.readouterr().err
    for name in ("CF_PROD_URL", "BILLING_PROD_URL", "SUBS_API_URL", "STRIPE_API_KEY"):
        assert f"TRUEUP_{name} is not set" in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["audit", "--as-of", "Tuesday"], "is not an instant"),
        (["audit", "--accounts", "acc_00000001", "--bucket", "1"], "both accounts and buckets"),
        (["audit", "--accounts", " , "], "names no account"),
        (["audit", "--accounts-file", "/nowhere/accounts"], "cannot be read"),
        (["audit", "--bucket", "99"], "there is no bucket 99"),
        (["show", "no-such-plan"], "no plan is"),
        (["explain", "acc_nobody"], "is in no store"),
        (["audit", "--accounts", "acc_nobody"], "acc_nobody is in no store"),
        (["relay", "--once"], "TRUEUP_WEBHOOK_URL"),
    ],
)
def test_wrong_use_exits_2_and_says_what_is_wrong(lab: Lab, arguments: list[str], said: str) -> None:
    code = lab.trueup(*arguments)

    assert said in lab.output.readouterr().err
    assert code == 2


def test_a_policy_with_faults_names_them_all_before_anything_is_read(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "policy.toml").write_text("grace_days = -1\nretry_offsets_days = [0]\n")
    monkeypatch.setenv("TRUEUP_POLICY", str(tmp_path / "policy.toml"))
    code = lab.trueup("audit")

    told = lab.output.readouterr().err
    assert "grace_days" in told
    assert "retry_offsets_days" in told
    assert code == 2


def test_an_unreachable_database_is_told_and_what_can_be_told_is_delivered(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUEUP_BILLING_PROD_URL", "postgresql://reader:hunter2@127.0.0.1:9/billing_prod")
    code = lab.trueup("audit", "--out", str(tmp_path))

    said = lab.output.readouterr()
    assert code == 4
    assert "billing_prod" in said.err
    assert "hunter2" not in said.err + said.out
    findings = pl.read_parquet(tmp_path / "findings.parquet")
    assert findings.filter(code="SRC_PARTIAL")["stores"].to_list() == [["billing_prod"]]
    assert set(pl.read_parquet(tmp_path / "desired.parquet")["quality"]) == {"indeterminate"}
    assert pl.read_parquet(tmp_path / "changes.parquet").is_empty()


def test_no_plan_is_made_from_a_snapshot_that_is_not_whole(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUEUP_STRIPE_API_KEY", "sk_test_wrong")
    code = lab.trueup("plan")

    assert "the key is not taken" in lab.output.readouterr().err
    assert code == 4
    assert lab.answer("plans") == (0, [])


def test_a_missing_table_is_named(lab: Lab) -> None:
    with psycopg.connect(libpq_url(lab.urls["cf_prod"])) as connection:
        connection.execute("DROP TABLE products")
    code = lab.trueup("audit")

    assert "cf_prod.products: there is no such table" in lab.output.readouterr().err
    assert code == 4


def test_a_malformed_row_is_a_finding_and_the_other_accounts_go_on(lab: Lab) -> None:
    assert lab.fleet is not None
    account = lab.fleet.known.filter(~pl.col("is_planted"))["account_id"][0]
    with psycopg.connect(libpq_url(lab.urls["cf_prod"])) as connection:
        connection.execute("UPDATE accounts SET currency = 'gold' WHERE account_id = %s", (account,))
    code, audited = lab.answer("audit")

    assert code == 1
    assert audited["indeterminate"] >= 1
    assert audited["by_code"][0]["code"] == "SRC_CONTRACT"


def test_stripe_going_down_in_the_middle_of_a_list_is_never_taken_for_its_end(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = port.RetryPolicy(attempts=2, wait_first_seconds=0.01, wait_max_seconds=0.02, timeout_seconds=5)
    monkeypatch.setattr(port.RetryPolicy, "of", lambda _settings: impatient)
    lab.stripe.faults.add(replace(Fault("error", path="/v1/charges", after=1), times=None))
    code, audited = lab.answer("audit")

    assert code == 4
    assert audited["stores"]["stripe"]["broken"] == "SRC_PARTIAL"
    assert audited["indeterminate"] == audited["accounts"]
    assert reader.STRIPE_TABLES[0] not in audited["stores"]["stripe"]["rows"]


def test_a_database_without_schema_trueup_can_be_audited_and_says_that_no_history_is_kept(lab: Lab) -> None:
    with psycopg.connect(libpq_url(lab.urls["subs_api"])) as connection:
        connection.execute("DROP SCHEMA trueup CASCADE")
    code, audited = lab.answer("audit")

    assert code == 1
    assert "trueup init-db" in audited["history"]
