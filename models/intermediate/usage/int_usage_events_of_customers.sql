{{ config(
    materialized='incremental', touched_by='int_usage_events_touched'
) }}

{# Whose each event is, counted or not: by the Polar id it carries, else by who held its external id when it was received. #}

with

usage_events as (

    select * from {{ ref('int_usage_events_counted') }}{{ touched_only('int_usage_events_touched') }}

),

customers as (

    select * from {{ ref('int_customers_merged') }}

),

held_ids as (

    select * from {{ ref('int_external_ids_held') }}

)

select
    usage_events.load_id,
    usage_events.file_number,
    usage_events.record_number,
    usage_events.usage_event_key,
    usage_events.organization_id,
    usage_events.event_name,
    usage_events.external_customer_id,
    usage_events.member_id,
    usage_events.external_member_id,
    usage_events.occurred_at,
    usage_events.external_id is null and usage_events.shape = 'recorded' as is_anonymous,
    usage_events.is_counted,
    usage_events.is_submitted,
    usage_events.is_recorded,
    coalesce(customers.customer_id, held_ids.customer_id) as known_customer_id,
    coalesce(usage_events.customer_id, held_ids.customer_id) as customer_id,
    {{ joined_customer_key('usage_events') }} as customer_key,
    case
        when customers.customer_key is not null then 'customer_id'
        when held_ids.customer_key is not null then 'external_customer_id'
        else 'unknown_customer'
    end as attribution
from usage_events
{{ join_customers('usage_events') }}
