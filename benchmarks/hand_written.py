"""What no build can avoid, as one DuckDB script: parse raw into typed columns, write usage_events, add up meter_usage.

No identity, no late or repeated records, no periods, prices, credits or orders, no tests: a floor, not a rival.
Run with a work file and a new file as arguments.
"""

import sys
from pathlib import Path

import duckdb

_STRUCTURE = """{
    "id": "VARCHAR", "external_id": "VARCHAR", "name": "VARCHAR", "timestamp": "VARCHAR", "ingested_at": "VARCHAR",
    "customer_id": "VARCHAR", "external_customer_id": "VARCHAR", "member_id": "VARCHAR",
    "external_member_id": "VARCHAR", "parent_id": "VARCHAR",
    "metadata": {
        "_cost": {"amount": "DECIMAL(38,12)", "currency": "VARCHAR"},
        "_llm": {
            "vendor": "VARCHAR", "model": "VARCHAR", "input_tokens": "BIGINT", "cached_input_tokens": "BIGINT",
            "output_tokens": "BIGINT", "total_tokens": "BIGINT"
        },
        "gib_hours": "DECIMAL(38,12)", "route": "VARCHAR"
    }
}"""
_SCRIPT = f"""
create table parsed as
select
    record_key::varchar as usage_event_key, organization_id, e.id as event_id, e.external_id, e.name as event_name,
    e.customer_id, e.external_customer_id, e.member_id, e.external_member_id, e.parent_id,
    e.metadata._cost.amount as cost_amount, e.metadata._cost.currency as cost_currency,
    e.metadata._llm.vendor as llm_vendor, e.metadata._llm.model as llm_model,
    e.metadata._llm.input_tokens as llm_input_tokens, e.metadata._llm.cached_input_tokens as llm_cached_input_tokens,
    e.metadata._llm.output_tokens as llm_output_tokens, e.metadata._llm.total_tokens as llm_total_tokens,
    e.metadata.gib_hours, e.metadata.route, json_extract(payload, '$.metadata')::varchar as metadata,
    e.timestamp::timestamptz at time zone 'UTC' as occurred_at,
    greatest(e.timestamp::timestamptz, coalesce(e.ingested_at, e.timestamp)::timestamptz)
        at time zone 'UTC' as received_at,
    landed_at, load_id, file_number, record_number
from (
    select *, from_json(payload, '{_STRUCTURE}') as e
    from work.raw.events
    where source = 'user'
);
create table usage_events as
select
    events.*,
    md5(concat_ws('-', events.organization_id, events.external_customer_id)) as customer_key,
    md5(concat_ws('-', events.organization_id, events.external_customer_id, events.external_member_id)) as member_key,
    parents.usage_event_key as parent_event_key
from parsed as events
left join (select event_id, usage_event_key from parsed) as parents on events.parent_id = parents.event_id;
create table meter_usage as
select
    organization_id, customer_key, event_name, route, date_trunc('month', received_at) as period_start_at,
    count(*) as event_count, sum(gib_hours)::double as consumed_units
from usage_events
where event_name in ('api.call', 'storage.sampled')
group by all;
checkpoint;
"""


def main() -> None:
    """Run the script on a work file's raw events."""
    work, target = map(Path, sys.argv[1:])
    with duckdb.connect(str(target)) as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("set preserve_insertion_order = false")
        connection.execute(f"attach '{work}' as work (read_only)")
        connection.execute(_SCRIPT)


if __name__ == "__main__":
    main()
