"""Numbers survive from the text of a payload to the marts, to the last digit."""

import json
import os
import random
import subprocess
import sys
from decimal import Decimal, localcontext
from pathlib import Path

from tests.loaders.main_job.conftest import ROOT, Published, meterhouse

SHAPES = ((26, 12), (26, 0), (0, 12), (8, 12), (1, 13), (20, 6), (27, 3), (30, 15), (3, 2), (16, 1), (15, 12), (1, 25))

# Where the metadata stands in an event, and how its key is written.
SPELLINGS = (
    '{%(head)s, "metadata": %(metadata)s}',
    '{"metadata": %(metadata)s, %(head)s}',
    '{"customer": {"metadata": {"metadata": "metadata"}}, %(head)s, "metadata": %(metadata)s}',
    '{%(head)s, "met\\u0061data": %(metadata)s}',
    '{"met\\u0061data": %(metadata)s, %(head)s, "customer": {"metadata": {}}}',
    # As the API writes it; then with other keys and objects that look like it at the end, rounded as a double is.
    '{%(head)s,"metadata":%(compact)s}',
    '{%(head)s, "metadata": %(metadata)s, "customer": {"name":"x","metadata":%(rounded)s}}',
    '{%(head)s, "metadata": %(metadata)s,"x\\",\\"metadata":%(rounded)s}',
)


def numbers_of_every_shape(seed: int, each: int = 30) -> list[Decimal]:
    """Numbers with so many digits before and behind the point, integers beyond 64 bits, and the edges."""
    chosen = random.Random(seed)
    edges = [Decimal(0), Decimal(10) ** 26, Decimal(10) ** 26 - Decimal("1e-12"), Decimal(2) ** 63, Decimal(2) ** 64]
    # As a double it is 100000.0, which has no digit too many: in every spelling.
    edges += [Decimal("100000.000000000004")] * len(SPELLINGS)
    numbers = edges + [-edge for edge in edges] + [Decimal(chosen.getrandbits(90)) for _ in range(each)]
    for before, behind in SHAPES:
        for _ in range(each):
            digits = "".join(chosen.choices("0123456789", k=before + behind)).zfill(1)
            numbers.append(Decimal((chosen.randrange(2), tuple(map(int, digits)), -behind)))
    return numbers


def fits(number: Decimal) -> bool:
    """Whether DECIMAL(38,12) holds it exactly."""
    with localcontext() as context:
        context.prec = 1200
        return abs(number) < Decimal(10) ** 26 and number == round(number, 12)


def land_and_publish(numbers: list[Decimal], home: Path) -> Published:
    """Write each number as text into an event's metadata and cost, as Polar's export would, and run the job."""
    lines = []
    for row, number in enumerate(numbers):
        head = (
            f'"id": "00000000-0000-4000-8000-{row:012}", "source": "user", "name": "usage", '
            '"timestamp": "2026-01-01T00:00:00Z", "organization_id": "acme", "external_customer_id": "c"'
        )
        metadata = (
            f'{{"row": {row}, "n": {number:f}, "deep": {{"n": {number:f}}}, '
            f'"_cost": {{"amount": {number:f}, "currency": "usd"}}}}'
        )
        compact = metadata.replace(" ", "")
        rounded = json.dumps(json.loads(metadata), separators=(",", ":"))
        texts = {"head": head, "metadata": metadata, "compact": compact, "rounded": rounded}
        lines.append(SPELLINGS[row % len(SPELLINGS)] % texts)
    file = home.parent / "events.jsonl"
    file.write_text("\n".join(lines) + "\n")
    meterhouse("load", file, home=home)
    dbt = [str(Path(sys.executable).parent / "dbt"), "build", "--vars", json.dumps({"publish_usage_metadata": True})]
    environment = {**os.environ, "METERHOUSE_HOME": str(home), "DBT_TARGET_PATH": str(home / "target")}
    environment["DBT_LOG_PATH"] = str(home / "logs")
    done = subprocess.run(
        [*dbt, "--exclude", "test_type:unit"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout[-4000:]
    meterhouse("publish", home=home)
    return Published(home / "published.duckdb")


def test_numbers_survive_to_the_last_digit(tmp_path: Path) -> None:
    numbers = numbers_of_every_shape(seed=11)
    published = land_and_publish(numbers, tmp_path / "home")
    rows = published.rows(
        "select n.property_path, cast(r.value_number as bigint) as row, n.value_decimal, n.is_inexact, e.cost_amount "
        "from usage_metadata as n join usage_metadata as r using (usage_event_key) "
        "join usage_events as e using (usage_event_key) "
        "where r.property_path = 'row' and n.property_path in ('n', 'deep.n', '_cost.amount')"
    )
    assert len(rows) == 3 * len(numbers)
    leaves = "organization_id, event_name, property_path, count(*) as event_count"
    assert not published.rows(
        f"(select {leaves} from usage_metadata group by all) except select organization_id, event_name, property_path, "
        "event_count from metadata_properties"
    )
    for row in rows:
        number = numbers[row["row"]]
        assert row["is_inexact"] == (not fits(number)), (row, number)
        assert row["value_decimal"] == (number if fits(number) else None), (row, number)
        # Beyond any cost of Polar's, a sum of costs would overflow.
        if abs(number) >= 10**15:
            assert row["cost_amount"] is None, (row, number)
        elif fits(number):
            assert row["cost_amount"] == number, (row, number)
