"""What a build costs when a few events came in, onto a short and a long history; `benchmarks/run.py` runs it.

A history is one company's: a million events a month from a thousand subscribed customers, metered and paid monthly,
landed every three days. A longer history is more months of it. What comes in then is a load of new events: most of
the last hours, some late by days, some steps of traces that began before, from customers old and new.
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import duckdb

HERE = Path(__file__).resolve().parent

# For the engine's cost beside a script written by hand: more customers, and meters on routes of the API.
ENGINE_CUSTOMERS = 10_000
ENGINE_METERS = 20

ORGANIZATION = "0f8fad5b-d9cb-469f-a165-70867728950e"
CUSTOMERS = 1000
EVENTS_A_MONTH = 1_000_000
EVENTS_A_LOAD = 100_000
# When the history ends; what comes in lies after it.
END = "timestamp '2026-06-03 00:00:00'"
AS_OF = "2026-06-03T12:00:00Z"

_MACROS = f"""
create temp macro uuid_of(kind, i) as md5(kind || i)::uuid::varchar;
create temp macro instant(t) as strftime(t, '%Y-%m-%dT%H:%M:%S.%gZ');
create temp macro event_key(id) as md5('["{ORGANIZATION}","recorded","' || id || '"]')::uuid;
create temp macro event_name(i) as
    case when hash(i) % 10 < 3 then 'llm.completion' when hash(i) % 10 < 8 then 'api.call' else 'storage.sampled' end;
create temp macro event_metadata(i) as case event_name(i)
    when 'llm.completion' then printf(
        '{{"_cost":{{"amount":"%s","currency":"usd"}},"_llm":{{"vendor":"openai","model":"gpt-5","input_tokens":%d,'
        || '"output_tokens":%d,"total_tokens":%d}}}}',
        ((hash(i) % 90000) / 1e5)::varchar, hash(i) % 9000, hash(i) % 2000, hash(i) % 11000
    )
    when 'api.call' then printf('{{"route":"/v1/%d","status":200,"latency_ms":%d}}', hash(i) % 20, hash(i) % 300)
    else printf('{{"gib_hours":%.1f,"region":"eu","billable":true}}', (hash(i) % 500) / 10.0)
end;
-- Not json_object: it takes ten times as long.
create temp macro event_payload(i, occurred_at, customer, parent) as printf(
    '{{"id":"%s","timestamp":"%s","organization_id":"{ORGANIZATION}","customer_id":null,"customer":null,'
    || '"external_customer_id":"customer-%s","external_member_id":"member-%d","child_count":0,"parent_id":%s,'
    || '"source":"user","name":"%s","label":"%s","metadata":%s}}',
    uuid_of('event', i), instant(occurred_at), customer::varchar, i % 3,
    coalesce('"' || uuid_of('event', parent) || '"', 'null'), event_name(i), event_name(i), event_metadata(i)
);
"""

_EVENTS = """
insert into raw.events
select
    load_id, 1, record_number, record_number * 400, $organization, event_key(uuid_of('event', i)), 'recorded', 'user',
    landed_at, event_payload(i, occurred_at, customer, parent), null
from {rows}
"""
_HISTORY_ROWS = f"""(
    select
        i, 1 + i // {EVENTS_A_LOAD} as load_id, i % {EVENTS_A_LOAD} as record_number,
        {END} - to_microseconds((($count - i) * (30 * 86400 * 1e6 / {EVENTS_A_MONTH}))::bigint) as occurred_at,
        occurred_at as landed_at, hash(i * 7) % $customers as customer,
        case when i % 10 in (3, 4, 5) then i - i % 10 when i % 10 = 6 then i - 1 end as parent
    from range($count::bigint) as t(i)
)"""
# One in fifty is late by up to three days, one in a hundred is a step of a trace that began before.
_NEW_ROWS = f"""(
    select
        $first + i as i, $load_id as load_id, i as record_number,
        {END} + to_microseconds(((i + 1) * (30 * 86400 * 1e6 / {EVENTS_A_MONTH}))::bigint)
        - case when i % 50 = 0 then to_seconds((hash(i) % 259200)::bigint) else interval 0 second end as occurred_at,
        {END} + interval 3 hour as landed_at,
        case
            when i % 1000 = 0 then 'new-' || $load_id || '-' || i
            else (hash(i * 7) % $customers)::varchar
        end as customer,
        case
            when i % 100 = 1 then $first - 10 * (1 + hash(i) % 50)
            when i % 10 in (3, 4, 5) then $first + i - i % 10
        end as parent
    from range($count::bigint) as t(i)
)"""
_LOADS = """
insert into raw.loads
select
    load_id, file_number, 'files', 'auto', 'load-' || load_id || '.jsonl', md5(load_id::varchar), count(*) * 400, null,
    min(landed_at), max(landed_at), count(*), count(*), 0, 0, 0, 0, null
from (
    select load_id, file_number, landed_at from raw.events
    union all
    select load_id, file_number, landed_at from raw.resources
)
where load_id not in (select load_id from raw.loads)
group by load_id, file_number
"""
_MONTHS = f"ceil($count / {EVENTS_A_MONTH})::int"
_SUBSCRIPTIONS = f"""
create temp table subscriptions as
select
    c, uuid_of('customer', c) as customer_id, uuid_of('subscription', c) as subscription_id,
    uuid_of('product', 1) as product_id, {END} - to_months({_MONTHS}) - to_hours((c % 700)::int) as started_at
from range($customers::bigint) as t(c)
"""
_PRICES = """
create temp table prices as select json_group_array(price) as prices from (
    select json_object(
        'id', uuid_of('price', 0), 'amount_type', 'fixed', 'price_currency', 'usd', 'price_amount', 1000
    ) as price
    union all
    select json_object(
        'id', uuid_of('price', m), 'amount_type', 'metered_unit', 'price_currency', 'usd',
        'meter_id', uuid_of('meter', m), 'unit_amount', '0.25'
    )
    from range(1, $meters::bigint + 1) as t(m)
)
"""
_RESOURCES = f"""
insert into raw.resources
select
    0, 1, row_number() over (), 0, $organization, kind, object->>'id', md5(object::varchar), timestamp '2020-01-01',
    null, null, {END}, object::varchar, null
from (
    select 'meters' as kind, json_object(
        'id', uuid_of('meter', m), 'name', name, 'created_at', '2020-01-01T00:00:00Z', 'aggregation', aggregation,
        'filter', json_object('conjunction', 'and', 'clauses', [
            json_object('property', 'name', 'operator', 'eq', 'value', name),
            json_object('property', property, 'operator', 'eq', 'value', value)
        ])
    ) as object
    from (
        from (values
            (1, 'api.call', json_object('func', 'count'), 'name', 'api.call'),
            (2, 'storage.sampled', json_object('func', 'sum', 'property', 'gib_hours'), 'region', 'eu')
        )
        union all
        select m, 'api.call', json_object('func', 'count'), 'route', '/v1/' || m
        from range(3, $meters::bigint + 1) as t(m)
    ) as meters(m, name, aggregation, property, value)
    union all
    select 'products', json_object(
        'id', uuid_of('product', 1), 'name', 'Team', 'created_at', '2020-01-01T00:00:00Z',
        'recurring_interval', 'month', 'prices', prices
    )
    from prices
    union all
    select 'customers', json_object(
        'id', customer_id, 'external_id', 'customer-' || c, 'type', 'individual', 'created_at', '2020-01-01T00:00:00Z'
    )
    from subscriptions
    union all
    select 'subscriptions', json_object(
        'id', subscription_id, 'customer_id', customer_id, 'product_id', product_id, 'status', 'active', 'amount', 1000,
        'currency', 'usd', 'recurring_interval', 'month', 'started_at', instant(started_at),
        'created_at', instant(started_at), 'prices', prices
    )
    from subscriptions, prices
);
"""
_ORDERS = f"""
insert into raw.events
select
    1, 2, row_number() over (), 0, $organization, event_key(id), 'recorded', 'system', paid_at,
    json_object(
        'id', id, 'timestamp', instant(paid_at), 'organization_id', $organization, 'customer_id', customer_id,
        'source', 'system', 'name', 'order.paid', 'metadata', json_object(
            'order_id', uuid_of('order', c || '-' || m), 'amount', 1300, 'net_amount', 1300, 'tax_amount', 0,
            'currency', 'usd', 'product_id', product_id, 'billing_type', 'recurring', 'subscription_id', subscription_id
        )
    )::varchar, null
from (
    select
        *, uuid_of('order.paid', c || '-' || m) as id, started_at + to_months(m::int) + interval 1 minute as paid_at
    from subscriptions, range(({_MONTHS})::bigint) as months(m)
)
"""
_KEYS = """
insert into raw.event_keys
select (record_key::uhugeint >> 64)::ubigint, load_id from raw.events where load_id > $known
"""


@dataclass
class History:
    """A home folder with so many events, built once."""

    home: Path
    count: int
    loads: int
    customers: int = CUSTOMERS


def fill_history(home: Path, count: int, *, customers: int = CUSTOMERS, meters: int = 2) -> History:
    """Put a company's history into a home folder's raw tables, as if it had been landed."""
    prepare = "import sys; from loaders.warehouse import *\nwith open_work_file(Home(sys.argv[1])): pass"
    subprocess.run([sys.executable, "-c", prepare, str(home)], check=True, cwd=HERE.parent)
    with duckdb.connect(str(home / "meterhouse.duckdb")) as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(_MACROS)
        connection.execute(_SUBSCRIPTIONS, {"count": count, "customers": customers})
        connection.execute(_PRICES, {"meters": meters})
        connection.execute(_RESOURCES, {"organization": ORGANIZATION, "meters": meters})
        connection.execute("begin")
        parameters = {"organization": ORGANIZATION, "count": count}
        connection.execute(_EVENTS.format(rows=_HISTORY_ROWS), parameters | {"customers": customers})
        connection.execute(_ORDERS, parameters)
        connection.execute(_KEYS, {"known": 0})
        connection.execute(_LOADS)
        connection.execute("commit")
        (loads,) = connection.execute("select max(load_id) from raw.loads").fetchone() or (0,)
    return History(home, count, loads, customers)


def land_new(history: History, count: int) -> None:
    """Put a load of new events into the raw tables."""
    with duckdb.connect(str(history.home / "meterhouse.duckdb")) as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(_MACROS)
        connection.execute("begin")
        history.loads += 1
        parameters = {"organization": ORGANIZATION, "count": count, "first": history.count, "load_id": history.loads}
        parameters["customers"] = history.customers
        connection.execute(_EVENTS.format(rows=_NEW_ROWS), parameters)
        connection.execute(_KEYS, {"known": history.loads - 1})
        connection.execute(_LOADS)
        connection.execute("commit")
    history.count += count
