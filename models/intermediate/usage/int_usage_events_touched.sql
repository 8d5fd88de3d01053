{#
    The events that what came in since the last build may count or attribute otherwise: new ones, those read again, the
    other copy of either, submissions that recorded usage now covers, and usage of customers that became known. Empty
    where the build makes everything anew.
#}
{% set place = ['load_id', 'file_number', 'record_number'] %}

{% if not works_in_place() %}

select
    load_id,
    file_number,
    record_number,
    usage_event_key,
    organization_id,
    external_id,
    cast(null as varchar) as old_external_id,
    other_event_id as event_id,
    coalesce(sent_at, landed_at) as occurred_at
from {{ ref('stg_polar__usage_events') }}
where
    false
    {# What the other branch reads. #}
    and organization_id in (select organization_id from {{ ref('stg_polar__event_rereads') }})
    and organization_id in (select organization_id from {{ ref('int_organizations_covered') }})
    and organization_id in (select organization_id from {{ ref('int_customers_merged') }})
    and organization_id in (select organization_id from {{ ref('int_external_ids_held') }})
    and load_id in (select load_id from {{ source('raw', 'event_keys') }})

{% else %}
{% set since = last_built_load_id() %}

with

{# Kept whole, a table that is named twice would be read whole; as it stands each reader takes its few rows. #}
usage_events as not materialized (

    select * from {{ ref('stg_polar__usage_events') }}

),

rereads as not materialized (

    select * from {{ ref('stg_polar__event_rereads') }}

),

counted_events as not materialized (

    select * from {{ stored('intermediate', 'int_usage_events_counted') }}

),

new_rereads as (

    select distinct usage_event_key from rereads
    where load_id > {{ since }}

),

{# Eight bytes of each key say in which loads the first reads may lie, so that the others stay unread. #}
loads_read_again as (

    select distinct event_keys.load_id
    from {{ source('raw', 'event_keys') }} as event_keys
    semi join (
        select {{ key_hash('usage_event_key') }} as key_hash from new_rereads
    ) as reread_keys using (key_hash)

),

changed_coverage as (

    {{ differing_rows('int_organizations_covered', ['organization_id', 'recorded_usage_from_at', 'recorded_usage_to_at']) }}

),

{# Between the old bound and the new one submissions stop counting, or start to. #}
changed_spans as (

    select
        organization_id,
        min(recorded_usage_from_at) as starts_at,
        max(recorded_usage_from_at) as ends_at
    from changed_coverage
    group by organization_id
    union all
    select
        organization_id,
        min(recorded_usage_to_at) as starts_at,
        max(recorded_usage_to_at) as ends_at
    from changed_coverage
    group by organization_id
    union all
    {# Recorded usage that was nowhere covers a span of its own now. #}
    select
        organization_id,
        min(recorded_usage_from_at) as starts_at,
        max(recorded_usage_to_at) as ends_at
    from changed_coverage
    group by organization_id
    having count(*) != count(recorded_usage_from_at) or count(*) = 1

),

changed_customers as (

    {{ differing_rows('int_customers_merged', ['organization_id', 'customer_id']) }}

),

changed_holders as (

    select distinct
        organization_id,
        external_customer_id
    from (
        {{ differing_rows('int_external_ids_held', ['organization_id', 'external_customer_id', 'customer_key', 'held_from_at', 'held_to_at']) }}
    )

),

known_customer_events as (

    select {{ place | join(', ') }} from counted_events
    semi join changed_customers using (organization_id, customer_id)
    where attribution != 'external_customer_id'
    union all
    select {{ place | join(', ') }} from counted_events
    semi join changed_holders using (organization_id, external_customer_id)
    where attribution != 'customer_id'

),

{# In places of their own first: what follows reads the columns of few rows. #}
first_places as (

    select {{ place | join(', ') }} from usage_events
    where load_id > {{ since }}
    union
    select {{ place | join(', ') }} from usage_events
    semi join loads_read_again using (load_id)
    semi join new_rereads using (usage_event_key)
    union
    select usage_events.load_id, usage_events.file_number, usage_events.record_number
    from usage_events
    inner join changed_spans
        on
            usage_events.organization_id = changed_spans.organization_id
            and coalesce(usage_events.sent_at, usage_events.landed_at) between changed_spans.starts_at and changed_spans.ends_at
    where usage_events.shape = 'submitted'
    union
    select {{ place | join(', ') }} from known_customer_events

),

first_events as (

    select
        organization_id,
        usage_event_key,
        shape,
        external_id
    from usage_events
    semi join first_places using ({{ place | join(', ') }})

),

external_ids as (

    select
        organization_id,
        shape,
        external_id
    from first_events
    where external_id is not null
    union
    select
        first_events.organization_id,
        first_events.shape,
        rereads.external_id
    from first_events
    inner join rereads on first_events.usage_event_key = rereads.usage_event_key
    where rereads.external_id is not null

),

recorded_ids as (

    select organization_id, external_id from external_ids
    where shape = 'recorded'

),

{# Of several recorded events with a submission's id the first is its copy: one that comes in may take it from another. #}
submitted_ids as (

    select organization_id, external_id from external_ids
    where shape = 'submitted'
    union
    select organization_id, external_id from usage_events
    semi join recorded_ids using (organization_id, external_id)
    where shape = 'submitted'

),

{# Each copy decides about the others. #}
places as (

    select {{ place | join(', ') }} from first_places
    union
    select {{ place | join(', ') }} from usage_events
    semi join recorded_ids using (organization_id, external_id)
    where shape = 'submitted'
    union
    select {{ place | join(', ') }} from usage_events
    semi join submitted_ids using (organization_id, external_id)
    where shape = 'recorded' and external_id is not null
    union
    select usage_events.load_id, usage_events.file_number, usage_events.record_number
    from usage_events
    inner join rereads on usage_events.usage_event_key = rereads.usage_event_key
    semi join submitted_ids
        on
            usage_events.organization_id = submitted_ids.organization_id
            and rereads.external_id = submitted_ids.external_id
    where usage_events.shape = 'recorded'

),

{# Few rows on either side of the join below: it would read all events to build a table of them. #}
old_events as (

    select load_id, file_number, record_number, external_id from counted_events
    semi join places using (load_id, file_number, record_number)

)

select
    usage_events.load_id,
    usage_events.file_number,
    usage_events.record_number,
    usage_events.usage_event_key,
    usage_events.organization_id,
    usage_events.external_id,
    old_events.external_id as old_external_id,
    {{ event_id('usage_events') }} as event_id,
    coalesce(usage_events.sent_at, usage_events.landed_at) as occurred_at
from usage_events
semi join places using (load_id, file_number, record_number)
left join old_events using (load_id, file_number, record_number)

{% endif %}
