{{ config(materialized='incremental_view', touched_by='int_usage_events_changed') }}

{{ changes_come_from('int_usage_events_changed') }}

with

usage_events as (

    select * from {{ ref('int_usage_events_attributed').include(database=false) }}

)

select
    usage_event_key,
    organization_id,
    {{ event_id('usage_events') }} as event_id,
    {{ published_external_id('organization_id', 'external_id') }} as external_id,
    event_name,
    occurred_at,
    received_at,
    received_at_basis,
    {# received_at is never before occurred_at, so it is the later of the two. #}
    received_at as billed_at,
    landed_at,
    customer_key,
    member_key,
    attribution,
    parent_event_key,
    case when names_parent then root_event_key else usage_event_key end as root_event_key,
    case when names_parent then depth else 0 end as depth,
    names_parent and root_load_id is null as is_orphan,
    cost_amount,
    cost_currency,
    llm_vendor,
    llm_model,
    llm_input_tokens,
    llm_cached_input_tokens,
    llm_output_tokens,
    llm_total_tokens,
    {# Prompts and responses are personal data: they stay in the work file. What is no object may be one as a whole. #}
    {{ publishable_metadata('metadata') }} as metadata,
    load_id,
    file_number,
    record_number
from usage_events
