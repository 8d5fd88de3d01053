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
    cast(null as varchar) as old_customer_key,
    cast(null as varchar) as old_event_name,
    cast(null as varchar) as old_root_event_key,
    cast(null as bigint) as old_root_load_id
from {{ ref('int_usage_events_touched') }} as touched
where
    false
    and touched.load_id in (select load_id from {{ ref('int_usage_links_touched') }})
    and touched.load_id in (select load_id from {{ ref('int_usage_events_of_customers') }})
    and touched.organization_id in (select organization_id from {{ ref('int_members_paired') }})

{% else %}

with

touched_events as (

    select * from {{ ref('int_usage_events_touched') }}

),

{# Kept whole, a table that is named twice would be read whole; as it stands each reader takes its few rows. #}
events_of_customers as not materialized (

    select * from {{ ref('int_usage_events_of_customers') }}

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
    select {{ place | join(', ') }} from events_of_customers
    semi join changed_members using (organization_id, customer_key, external_member_id)
    where member_id is null and is_counted

),

{# Few rows on either side of the join below: it would read all events to build a table of them. #}
old_events as (

    select * from {{ stored('marts', 'usage_events') }}
    semi join places using ({{ place | join(', ') }})

)

select
    events_of_customers.load_id,
    events_of_customers.file_number,
    events_of_customers.record_number,
    events_of_customers.usage_event_key,
    events_of_customers.organization_id,
    events_of_customers.occurred_at,
    old_events.customer_key as old_customer_key,
    old_events.event_name as old_event_name,
    old_events.root_event_key as old_root_event_key,
    old_events.root_load_id as old_root_load_id
from events_of_customers
semi join places using ({{ place | join(', ') }})
left join old_events
    on
        events_of_customers.load_id = old_events.load_id
        and events_of_customers.file_number = old_events.file_number
        and events_of_customers.record_number = old_events.record_number

{% endif %}
