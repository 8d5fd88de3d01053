{{ config(
    materialized='incremental', touched_by='int_usage_events_changed'
) }}

{# One row per usage event that counts, with its customer and member and everything it carries. #}

with

usage_events as (

    select * from {{ ref('int_usage_events_counted') }}{{ touched_only('int_usage_events_changed') }}
    where is_counted

),

events_of_customers as (

    select * from {{ ref('int_usage_events_of_customers') }}{{ touched_only('int_usage_events_changed') }}
    where is_counted

),

contents as (

    select * from {{ ref('stg_polar__usage_events') }}{{ touched_only('int_usage_events_changed') }}

),

members as (

    select * from {{ ref('int_members_paired') }}

)

select
    usage_events.load_id,
    usage_events.file_number,
    usage_events.record_number,
    usage_events.usage_event_key,
    usage_events.organization_id,
    usage_events.event_id,
    usage_events.external_id,
    usage_events.event_name,
    usage_events.external_customer_id,
    usage_events.external_member_id,
    events_of_customers.known_customer_id,
    events_of_customers.customer_id,
    events_of_customers.customer_key,
    events_of_customers.attribution,
    coalesce(usage_events.member_id, members.member_id) as member_id,
    {# A member seen under both ids is one member. #}
    case
        when coalesce(usage_events.member_id, members.member_id) is not null
            then {{ surrogate_key(["'member'", 'usage_events.organization_id', 'events_of_customers.customer_key', 'coalesce(usage_events.member_id, members.member_id)']) }}
        when usage_events.external_member_id is not null
            then {{ surrogate_key(["'external_member'", 'usage_events.organization_id', 'events_of_customers.customer_key', 'usage_events.external_member_id']) }}
        else 'unattributed'
    end as member_key,
    contents.cost_amount,
    contents.cost_currency,
    contents.llm_vendor,
    contents.llm_model,
    contents.llm_input_tokens,
    contents.llm_cached_input_tokens,
    contents.llm_output_tokens,
    contents.llm_total_tokens,
    contents.metadata,
    contents.metadata_structure,
    contents.exact_numbers,
    usage_events.received_at_basis,
    usage_events.occurred_at,
    usage_events.received_at,
    usage_events.landed_at
from usage_events
inner join contents
    on
        usage_events.load_id = contents.load_id
        and usage_events.file_number = contents.file_number
        and usage_events.record_number = contents.record_number
inner join events_of_customers
    on
        usage_events.load_id = events_of_customers.load_id
        and usage_events.file_number = events_of_customers.file_number
        and usage_events.record_number = events_of_customers.record_number
left join members
    on
        events_of_customers.organization_id = members.organization_id
        and events_of_customers.customer_key = members.customer_key
        and usage_events.external_member_id = members.external_member_id
