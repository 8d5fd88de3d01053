{#
    The usage events whose row may be another since the last build, with the groups their old row was summed in: those
    that are touched, those whose member became known under its other id, and those that hang in another tree. Empty where
    the build makes everything anew.
#}
{% set place = ['load_id', 'file_number', 'record_number'] %}

{% if not works_in_place() %}

select
    touched.load_id,
    touched.file_number,
    touched.record_number,
    touched.usage_event_key,
    touched.organization_id,
    touched.occurred_at,
    cast(null as uuid) as old_customer_key,
    cast(null as varchar) as old_event_name,
    cast(null as bigint) as old_root_load_id,
    cast(null as integer) as old_root_file_number,
    cast(null as bigint) as old_root_record_number
from {{ ref('int_usage_events_touched') }} as touched
where
    false
    and touched.load_id in (select load_id from {{ ref('int_usage_links_touched') }})
    and touched.load_id in (select load_id from {{ ref('int_usage_events_counted') }})
    and touched.organization_id in (select organization_id from {{ ref('int_members_paired') }})

{% else %}

with

touched_events as (

    select * from {{ ref('int_usage_events_touched') }}

),

{# Kept whole, a table that is named twice would be read whole; as it stands each reader takes its few rows. #}
counted_events as not materialized (

    select * from {{ ref('int_usage_events_counted') }}

),

changed_members as (

    select distinct
        organization_id,
        customer_key,
        external_member_id
    from (
        {{ differing_rows('int_members_paired', ['organization_id', 'customer_key', 'external_member_id', 'member_id']) }}
    )

),

places as (

    select {{ place | join(', ') }} from touched_events
    union
    select {{ place | join(', ') }} from {{ ref('int_usage_links_touched') }}
    union
    select {{ place | join(', ') }} from counted_events
    semi join changed_members using (organization_id, customer_key, external_member_id)
    where member_id is null and is_counted

),

{# Few rows on either side of the join below: it would read all events to build a table of them. #}
old_events as (

    select * from {{ stored('intermediate', 'int_usage_events_attributed') }}
    semi join places using ({{ place | join(', ') }})

)

select
    counted_events.load_id,
    counted_events.file_number,
    counted_events.record_number,
    counted_events.usage_event_key,
    counted_events.organization_id,
    counted_events.occurred_at,
    old_events.customer_key as old_customer_key,
    old_events.event_name as old_event_name,
    {%- for column in place %}
    case when old_events.names_parent then old_events.root_{{ column }} else old_events.{{ column }} end as old_root_{{ column }}{{ ',' if not loop.last }}
    {%- endfor %}
from counted_events
semi join places using ({{ place | join(', ') }})
left join old_events
    on
        counted_events.load_id = old_events.load_id
        and counted_events.file_number = old_events.file_number
        and counted_events.record_number = old_events.record_number

{% endif %}
