"""The sandbox over HTTP, as the official SDK sees it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import polars as pl
import pytest
import stripe

from trueup.sandbox.stripe_api import Fault, StripeSandbox, StripeSandboxProcess, objects

ROOT = Path(__file__).resolve().parents[2]

OBJECTS: dict[str, list[dict[str, Any]]] = {
    "customers": [
        {"customer_id": f"cus_{i}", "created_at": 100 + i // 2, "default_payment_method_id": f"pm_{i}"}
        for i in range(25)
    ]
    + [{"customer_id": "cus_gone", "is_deleted": True}],
    "payment_methods": [
        {"payment_method_id": f"pm_{i}", "customer_id": f"cus_{i}", "exp_month": 3, "exp_year": 2031} for i in range(24)
    ],
    "subscriptions": [
        {"subscription_id": f"sub_{status}", "customer_id": "cus_1", "status": status}
        for status in ("active", "past_due", "canceled", "incomplete_expired")
    ],
    "invoices": [{"invoice_id": "in_1", "customer_id": "cus_1", "status": "open", "subscription_id": "sub_active"}],
    "invoice_payments": [{"invoice_payment_id": "inpay_1", "invoice_id": "in_1", "payment_intent_id": "pi_1"}],
    "payment_intents": [{"payment_intent_id": "pi_1", "customer_id": "cus_1", "latest_charge_id": "ch_1"}],
    "charges": [{"charge_id": "ch_1", "customer_id": "cus_1", "payment_intent_id": "pi_1"}],
    "refunds": [{"refund_id": "re_1", "charge_id": "ch_1"}, {"refund_id": "re_2", "charge_id": "ch_2"}],
    "disputes": [{"dispute_id": "dp_1", "charge_id": "ch_1", "balance_transaction_ats": [5, 6]}],
    "credit_notes": [{"credit_note_id": "cn_1", "invoice_id": "in_1", "customer_id": "cus_1"}],
    "mandates": [{"mandate_id": "mandate_1", "payment_method_id": "pm_1", "payment_method_type": "sepa_debit"}],
    "events": [
        {"event_id": "evt_1", "type": "charge.dispute.closed", "object_id": "dp_1"},
        {"event_id": "evt_2", "type": "invoice.paid", "object_id": "in_1"},
        {"event_id": "evt_3", "type": "charge.refunded", "object_id": "ch_1"},
    ],
}


@pytest.fixture(scope="module")
def running() -> Iterator[StripeSandbox]:
    with StripeSandbox() as sandbox:
        sandbox.load(OBJECTS)
        yield sandbox


@pytest.fixture
def sandbox(running: StripeSandbox) -> Iterator[StripeSandbox]:
    yield running
    running.faults.clear()


@pytest.fixture
def client(sandbox: StripeSandbox) -> stripe.StripeClient:
    return client_of(sandbox.base_url, sandbox.api_key)


def client_of(base: str, key: str) -> stripe.StripeClient:
    return stripe.StripeClient(key, base_addresses={"api": base}, max_network_retries=0)


def ids(found: Any) -> list[str]:
    return [each.id for each in found]


LISTED = [kind for kind in objects.KINDS if kind != "mandates"]


@pytest.mark.parametrize("kind", LISTED)
def test_the_sdk_pages_through_every_list(client: stripe.StripeClient, kind: str) -> None:
    service = getattr(client.v1, kind)
    params = {"limit": 2, "status": "all"} if kind == "subscriptions" else {"limit": 2}
    found = list(service.list(params).auto_paging_iter())

    assert {each.object for each in found} == {objects.OBJECT_OF[kind]}
    expected = {each[objects.ID_OF[kind]] for each in OBJECTS[kind] if not each.get("is_deleted")}
    assert {each.id for each in found} == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize("kind", objects.KINDS)
def test_the_sdk_retrieves_every_kind_by_id(client: stripe.StripeClient, kind: str) -> None:
    wanted = OBJECTS[kind][0][objects.ID_OF[kind]]

    found = getattr(client.v1, kind).retrieve(wanted)
    assert (found.id, found.object) == (wanted, objects.OBJECT_OF[kind])


def test_lists_are_newest_first(client: stripe.StripeClient) -> None:
    found = client.v1.customers.list({"limit": 4})

    assert ids(found.data) == ["cus_24", "cus_23", "cus_22", "cus_21"]
    assert found.has_more
    assert ids(client.v1.customers.list({"limit": 2, "ending_before": "cus_21"}).data) == ["cus_23", "cus_22"]


def test_a_list_of_ten_is_given_where_no_limit_is(client: stripe.StripeClient) -> None:
    assert len(client.v1.customers.list().data) == 10


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"limit": 0}, None, "limit"),
        ({"limit": 101}, None, "limit"),
        ({"limit": "many"}, "parameter_invalid_integer", "limit"),
        ({"starting_after": "cus_none"}, "resource_missing", "starting_after"),
        ({"ending_before": "cus_none"}, "resource_missing", "ending_before"),
        ({"starting_after": "cus_1", "ending_before": "cus_2"}, None, "ending_before"),
        ({"colour": "blue"}, "parameter_unknown", "colour"),
        ({"expand": ["data.email"]}, None, "expand"),
        ({"expand": ["invoice_settings.default_payment_method"]}, None, "expand"),
        ({"created": {"gte": "noon"}}, "parameter_invalid_integer", "created[gte]"),
    ],
)
def test_what_stripe_would_refuse_is_refused(
    client: stripe.StripeClient, params: Any, code: str | None, param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        client.v1.customers.list(params)

    assert (refusal.value.http_status, refusal.value.code, refusal.value.param) == (400, code, param)
    assert str(refusal.value.request_id).startswith("req_")


def test_an_unknown_id_is_a_404(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="No such charge: 'ch_none'") as refusal:
        client.v1.charges.retrieve("ch_none")

    assert (refusal.value.http_status, refusal.value.code) == (404, "resource_missing")


def test_there_is_no_list_of_mandates(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="Unrecognized request URL"):
        client.raw_request("get", "/v1/mandates")


@pytest.mark.parametrize("key", ["sk_test_something_wrong", ""])
def test_a_wrong_or_missing_key_is_a_401(sandbox: StripeSandbox, key: str) -> None:
    answer = httpx.get(f"{sandbox.base_url}/v1/charges", headers={"Authorization": f"Bearer {key}"} if key else {})

    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert "something" not in answer.text


def test_the_key_may_be_a_basic_user_name(sandbox: StripeSandbox) -> None:
    answer = httpx.get(f"{sandbox.base_url}/v1/charges", auth=(sandbox.api_key, ""))

    assert answer.status_code == 200


def test_the_version_that_was_asked_for_is_answered(sandbox: StripeSandbox) -> None:
    client = stripe.StripeClient(sandbox.api_key, base_addresses={"api": sandbox.base_url}, stripe_version="2020-01-01")

    assert client.raw_request("get", "/v1/charges").headers["Stripe-Version"] == "2020-01-01"


def test_canceled_subscriptions_are_left_out_unless_asked_for(client: stripe.StripeClient) -> None:
    def of(**params: Any) -> set[str]:
        return set(ids(client.v1.subscriptions.list(params).data))

    assert of() == {"sub_active", "sub_past_due", "sub_incomplete_expired"}
    assert of(status="canceled") == {"sub_canceled"}
    assert of(status="ended") == {"sub_canceled", "sub_incomplete_expired"}
    assert len(of(status="all")) == 4


def test_a_deleted_customer_is_retrieved_as_such_and_not_listed(client: stripe.StripeClient) -> None:
    gone = client.v1.customers.retrieve("cus_gone")

    assert gone.deleted is True
    assert "cus_gone" not in ids(client.v1.customers.list({"limit": 100}).data)


def test_references_are_expanded(client: stripe.StripeClient) -> None:
    listed = client.v1.customers.list({"expand": ["data.invoice_settings.default_payment_method"]})
    by_id = {each.id: each.invoice_settings.default_payment_method for each in listed.data}
    intent = client.v1.payment_intents.retrieve("pi_1", {"expand": ["latest_charge.customer", "customer"]})
    payment = client.v1.invoice_payments.retrieve("inpay_1", {"expand": ["payment.payment_intent", "invoice"]})

    assert by_id["cus_23"].card.exp_year == 2031
    assert by_id["cus_24"] == "pm_24"  # the sandbox holds no such object, so the id is all there is
    assert (intent.latest_charge.id, intent.latest_charge.customer.id, intent.customer.id) == ("ch_1", "cus_1", "cus_1")
    assert (payment.payment.payment_intent.id, payment.invoice.id) == ("pi_1", "in_1")


def test_created_bounds_are_kept(client: stripe.StripeClient) -> None:
    def of(**created: int) -> list[str]:
        return ids(client.v1.customers.list({"limit": 100, "created": created}).data)

    assert of(gte=111, lte=111) == ["cus_23", "cus_22"]
    assert of(gt=110, lt=112) == ["cus_23", "cus_22"]
    assert ids(client.v1.customers.list({"created": 112}).data) == ["cus_24"]
    assert of(gt=112) == []


def test_lists_are_filtered_as_stripe_filters_them(client: stripe.StripeClient) -> None:
    v1 = client.v1
    found = {
        "invoices of a subscription": ids(v1.invoices.list({"subscription": "sub_active"}).data),
        "open invoices of another": ids(v1.invoices.list({"customer": "cus_2", "status": "open"}).data),
        "payments of an invoice": ids(v1.invoice_payments.list({"invoice": "in_1"}).data),
        "payments by an intent": ids(
            v1.invoice_payments.list({"payment": {"type": "payment_intent", "payment_intent": "pi_1"}}).data
        ),
        "charges of an intent": ids(v1.charges.list({"payment_intent": "pi_1"}).data),
        "refunds of a charge": ids(v1.refunds.list({"charge": "ch_2"}).data),
        "credit notes": ids(v1.credit_notes.list({"customer": "cus_1", "invoice": "in_1"}).data),
        "events of one type": ids(v1.events.list({"type": "invoice.paid"}).data),
        "events of types": ids(v1.events.list({"types": ["invoice.paid", "charge.dispute.closed"]}).data),
    }

    assert found == {
        "invoices of a subscription": ["in_1"],
        "open invoices of another": [],
        "payments of an invoice": ["inpay_1"],
        "payments by an intent": ["inpay_1"],
        "charges of an intent": ["ch_1"],
        "refunds of a charge": ["re_2"],
        "credit notes": ["cn_1"],
        "events of one type": ["evt_2"],
        "events of types": ["evt_2", "evt_1"],
    }


def test_an_error_hits_only_the_requests_that_it_was_set_for(
    sandbox: StripeSandbox, client: stripe.StripeClient
) -> None:
    sandbox.faults.add(Fault("error", path="/v1/charges", after=1, times=1, status=503))
    client.v1.charges.list()
    client.v1.refunds.list()

    with pytest.raises(stripe.APIError) as broken:
        client.v1.charges.list()
    assert broken.value.http_status == 503
    client.v1.charges.list()


def test_a_rate_limit_says_when_to_come_back(sandbox: StripeSandbox, client: stripe.StripeClient) -> None:
    sandbox.faults.add(Fault("rate_limit", per_second=1, times=None, retry_after=2))
    client.v1.charges.list()

    with pytest.raises(stripe.RateLimitError) as limited:
        client.v1.charges.list()
    assert limited.value.error.code == "rate_limit"
    assert limited.value.headers["retry-after"] == "2"


def test_a_connection_can_break_in_the_middle_of_an_answer(sandbox: StripeSandbox) -> None:
    sandbox.faults.add(Fault("drop"))

    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{sandbox.base_url}/v1/customers", auth=(sandbox.api_key, ""))


def test_an_answer_can_be_slow(sandbox: StripeSandbox, client: stripe.StripeClient) -> None:
    sandbox.faults.add(Fault("slow", seconds=0.2))
    began = time.monotonic()
    client.v1.charges.list()

    assert time.monotonic() - began >= 0.2


def test_objects_are_put_and_dropped_while_it_runs(sandbox: StripeSandbox, client: stripe.StripeClient) -> None:
    sandbox.put("charges", {"charge_id": "ch_9", "created_at": 2_000_000_000}, {"object": "charge", "id": "ch_odd"})
    sandbox.drop("charges", "ch_1")

    assert ids(client.v1.charges.list().data) == ["ch_9", "ch_odd"]
    sandbox.drop("charges", "ch_9")
    sandbox.drop("charges", "ch_odd")
    sandbox.load({"charges": OBJECTS["charges"]})


def test_a_sandbox_of_its_own_process_does_the_same_and_ends_with_its_starter() -> None:
    with StripeSandboxProcess() as running:
        running.load({"charges": pl.DataFrame({"charge_id": ["ch_1", "ch_2"]})})
        running.put("charges", {"charge_id": "ch_3"})
        running.drop("charges", "ch_1")
        client = client_of(running.base_url, running.api_key)
        assert set(ids(client.v1.charges.list().data)) == {"ch_2", "ch_3"}
        running.add_fault(Fault("error"))
        with pytest.raises(stripe.APIError):
            client.v1.charges.list()
        running.add_fault(Fault("error", times=None))
        running.clear_faults()
        client.v1.charges.list()

    with pytest.raises(httpx.ConnectError):
        httpx.get(running.base_url)


def test_the_switches_refuse_what_they_do_not_know(sandbox: StripeSandbox) -> None:
    http = httpx.Client(base_url=sandbox.base_url, auth=(sandbox.api_key, ""))

    assert http.put("/_sandbox/objects/cheques", content=b"[]").status_code == 404
    assert http.post("/_sandbox/faults", content=b'{"kind":"flood"}').status_code == 400
    assert http.delete("/_sandbox/objects/charges/ch_none").status_code == 404
    assert httpx.get(f"{sandbox.base_url}/_sandbox/counts").status_code == 401
    assert http.get("/_sandbox/counts").json()["objects"]["refunds"] == 2
    http.close()


def test_the_program_serves_files(tmp_path: Path) -> None:
    pl.DataFrame({"charge_id": ["ch_1"]}).write_parquet(tmp_path / "charges.parquet")
    lines = [orjson.dumps({"refund_id": "re_1"}), orjson.dumps({"object": "refund", "id": "re_2"})]
    (tmp_path / "refunds-01.ndjson").write_bytes(b"\n".join(lines))
    command = [
        sys.executable,
        "-m",
        "trueup.sandbox.stripe_api",
        "--port",
        "0",
        "--key",
        "sk_test_x",
        "--data",
        str(tmp_path),
    ]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ})
    assert program.stdout is not None
    client = client_of(program.stdout.readline().removeprefix("listening on ").strip(), "sk_test_x")
    found = (ids(client.v1.charges.list().data), set(ids(client.v1.refunds.list().data)))
    program.terminate()
    program.communicate()

    assert found == (["ch_1"], {"re_1", "re_2"})
