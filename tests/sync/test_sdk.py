"""What the SDK knows, staging reads, or says why not: an SDK that knows more makes these tests fail."""

import csv
import importlib
import re
import typing
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = ("v2026_04", "v2026_10", "v2027_01")

# Fields of metadata that staging leaves in the payload, and why.
UNREAD = {
    "benefit_id": "benefits bill nothing; meter.credited has the units that a benefit grants",
    "benefit_grant_id": "as benefit_id",
    "benefit_type": "as benefit_id",
    "member_id": "names the member of a benefit; usage carries its own",
    "customer_email": "personal, and customers are read from their objects",
    "customer_name": "as customer_email",
    "updated_fields": "what changed is in the customer's object",
    "checkout_id": "a checkout is no order",
    "checkout_status": "as checkout_id",
    "customer_cancellation_comment": "written by a person",
    "cancel_at_period_end": "ends_at says when it takes effect",
    "provider": "a migration bills nothing",
    "provider_subscription_id": "as provider",
    "tax_state": "tax is taken from the order as it is",
    "tax_country": "as tax_state",
}


def system_events(version: str) -> dict[str, Any]:
    """Return the SDK's system events by name."""
    outputs = importlib.import_module(f"polar.{version}.outputs")
    known = {}
    for event in typing.get_args(outputs.SystemEvent):
        (name,) = typing.get_args(typing.get_type_hints(event)["name"])
        known[name] = event
    return known


def read_fields() -> set[str]:
    """Return the names that the staging model's structure holds."""
    model = (ROOT / "models/staging/polar/stg_polar__system_events.sql").read_text()
    return set(re.findall(r"""['"](\w+)['"]""", model.partition("with\n")[0]))


@pytest.mark.parametrize("version", VERSIONS)
def test_every_system_event_of_the_sdk_is_known(version: str) -> None:
    seeded = {row["event_name"] for row in csv.DictReader((ROOT / "seeds/system_events.csv").open())}

    assert system_events(version).keys() - seeded == set(), (
        "add them to seeds/system_events.csv, and see what they mean"
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_every_field_of_the_sdk_is_read_or_left_for_a_reason(version: str) -> None:
    known = {
        field: name
        for name, event in system_events(version).items()
        for field in typing.get_type_hints(typing.get_type_hints(event)["metadata"])
    }

    unread = {field: name for field, name in known.items() if field not in read_fields() | UNREAD.keys()}
    assert unread == {}, "read them in stg_polar__system_events, or say in UNREAD why not"
    if version == VERSIONS[-1]:
        assert UNREAD.keys() <= known.keys() - read_fields(), "UNREAD names only what there is and what is not read"


def test_metadata_of_usage_is_open_but_for_what_staging_reads() -> None:
    """A user event's metadata is the merchant's own, except for `_cost` and `_llm`."""
    outputs = importlib.import_module("polar.v2026_04.outputs")
    special = typing.get_type_hints(outputs.EventMetadataOutput)

    assert special.keys() == {"_cost", "_llm"}
    fields = {field for kind in special.values() for field in typing.get_type_hints(_plain(kind))}
    staging = "\n".join(path.read_text() for path in (ROOT / "models/staging").rglob("*usage*.sql"))
    staging += "\n".join(path.read_text() for path in (ROOT / "macros").glob("*.sql"))
    unread = {field for field in fields if not re.search(rf"\b{field}\b", staging)}
    assert unread <= {"prompt", "response"}, "prompt and response are personal"


def _plain(kind: Any) -> Any:
    return typing.get_args(kind)[0] if typing.get_args(kind) else kind
