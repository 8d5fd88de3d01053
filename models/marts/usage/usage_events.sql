{{ config(
    materialized='incremental', touched_by='int_usage_events_changed',
    named_by=['load_id', 'usage_event_key']
) }}

with

usage_events as (

    select * from {{ ref('int_usage_events_attributed') }}{{ touched_only('int_usage_events_changed') }}

),

trees as (

    select * from {{ ref('int_usage_event_trees') }}{{ touched_only('int_usage_events_changed') }}

)

select
    usage_events.usage_event_key,
    usage_events.organization_id,
    usage_events.event_id,
    {{ published_external_id('usage_events.organization_id', 'usage_events.external_id') }} as external_id,
    usage_events.event_name,
    usage_events.occurred_at,
    usage_events.received_at,
    usage_events.received_at_basis,
    {# received_at is never before occurred_at, so it is the later of the two. #}
    usage_events.received_at as billed_at,
    usage_events.landed_at,
    usage_events.customer_key,
    usage_events.member_key,
    usage_events.attribution,
    trees.parent_event_key,
    case when trees.usage_event_key is null then usage_events.usage_event_key else trees.root_event_key end as root_event_key,
    case when trees.usage_event_key is null then 0 else trees.depth end as depth,
    trees.usage_event_key is not null and trees.root_event_key is null as is_orphan,
    usage_events.cost_amount,
    usage_events.cost_currency,
    usage_events.llm_vendor,
    usage_events.llm_model,
    usage_events.llm_input_tokens,
    usage_events.llm_cached_input_tokens,
    usage_events.llm_output_tokens,
    usage_events.llm_total_tokens,
    {# Prompts and responses are personal data: they stay in the work file. What is no object may be one as a whole. #}
    {{ publishable_metadata('usage_events.metadata') }} as metadata,
    usage_events.load_id,
    usage_events.file_number,
    usage_events.record_number,
    case when trees.usage_event_key is null then usage_events.load_id else trees.root_load_id end as root_load_id
from usage_events
left join trees on usage_events.usage_event_key = trees.usage_event_key
