"""A real public trace through the whole job: totals equal what polars computes from the CSV, to the last token.

The trace is the code service of the Azure LLM inference dataset of 2023 (Patel and others, "Splitwise", ISCA 2024,
CC-BY 4.0): 8 819 requests with their token counts.
"""

import json

import polars
import pytest

from tests.loaders.main_job.conftest import SHARED, Published

TRACE = SHARED / "data" / "azure_llm_inference_code_2023.csv"
CUSTOMERS, MEMBERS = 7, 3
KEYS = ["customer", "member", "day"]


@pytest.fixture(scope="module")
def trace() -> polars.DataFrame:
    """One row per request: its instant, tokens, and the customer and member that its row number gives it."""
    if not TRACE.exists():
        pytest.skip(f"the trace is not beside this checkout ({TRACE.name})")
    return (
        polars.read_csv(TRACE, schema_overrides={"TIMESTAMP": polars.String})
        .with_row_index("row")
        .with_columns(
            customer=polars.format("customer-{}", polars.col("row") % CUSTOMERS),
            member=polars.format("member-{}", polars.col("row") // CUSTOMERS % MEMBERS),
            # Seven digits of a second in the file, six in a timestamp.
            timestamp=polars.col("TIMESTAMP").str.slice(0, 26).str.replace(" ", "T") + "Z",
            day=polars.col("TIMESTAMP").str.slice(0, 10),
        )
    )


def payload(row: dict[str, object]) -> dict[str, object]:
    tokens_in, tokens_out = int(str(row["ContextTokens"])), int(str(row["GeneratedTokens"]))
    usage = {
        "vendor": "azure",
        "model": "code",
        "input_tokens": tokens_in,
        "output_tokens": tokens_out,
        "total_tokens": tokens_in + tokens_out,
    }
    return {
        "name": "llm.completion",
        "timestamp": row["timestamp"],
        "external_customer_id": row["customer"],
        "external_member_id": row["member"],
        "external_id": f"request-{row['row']}",
        "metadata": {"_llm": usage},
    }


@pytest.fixture(scope="module")
def published(trace: polars.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Published:
    from tests.loaders.main_job.conftest import meterhouse

    folder = tmp_path_factory.mktemp("trace")
    lines = "".join(json.dumps(payload(row)) + "\n" for row in trace.iter_rows(named=True))
    (folder / "events.jsonl").write_text(lines)
    meterhouse("run", folder / "events.jsonl", "--organization-id", "acme", home=folder / "home")
    return Published(folder / "home" / "published.duckdb")


def test_tokens_by_customer_member_and_day_are_exact(trace: polars.DataFrame, published: Published) -> None:
    expected = trace.group_by(KEYS).agg(
        event_count=polars.len(),
        llm_input_tokens=polars.col("ContextTokens").sum(),
        llm_output_tokens=polars.col("GeneratedTokens").sum(),
        llm_total_tokens=(polars.col("ContextTokens") + polars.col("GeneratedTokens")).sum(),
    )
    found = published.rows(
        "select c.external_customer_id as customer, m.external_member_id as member, "
        "cast(d.usage_date as varchar) as day, d.event_count, d.llm_input_tokens, d.llm_output_tokens, "
        "d.llm_total_tokens from usage_daily as d join customers as c using (customer_key) "
        "join members as m using (member_key)"
    )
    assert expected.height > CUSTOMERS * MEMBERS - 1
    assert sorted(found, key=str) == sorted(expected.select(found[0].keys()).to_dicts(), key=str)


def test_every_request_is_one_usage_event_of_an_unknown_customer(trace: polars.DataFrame, published: Published) -> None:
    found = published.rows("select attribution, count(*) as n from usage_events group by attribution")
    assert found == [{"attribution": "unknown_customer", "n": trace.height}]


def test_microseconds_survive(trace: polars.DataFrame, published: Published) -> None:
    found = published.rows(
        "select cast(occurred_at as varchar) as instant from usage_events where external_id = 'request-0'"
    )
    assert found == [{"instant": trace["timestamp"][0].replace("T", " ").rstrip("Z").rstrip("0")}]
