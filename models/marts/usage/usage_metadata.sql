{{ config(
    enabled=var('publish_usage_metadata'), materialized='incremental',
    touched_by='int_usage_events_changed', touched_on=['load_id', 'usage_event_key']
) }}

with recursive

published_events as (

    select * from {{ ref('usage_events') }}{{ touched_only('int_usage_events_changed') }}

),

attributed_events as (

    select * from {{ ref('int_usage_events_attributed') }}{{ touched_only('int_usage_events_changed') }}

),

usage_events as (

    select
        published_events.usage_event_key,
        published_events.organization_id,
        published_events.event_name,
        published_events.metadata,
        published_events.load_id,
        attributed_events.exact_numbers
    from published_events
    inner join attributed_events
        on
            published_events.load_id = attributed_events.load_id
            and published_events.file_number = attributed_events.file_number
            and published_events.record_number = attributed_events.record_number

),

leaves as (

    select
        usage_events.usage_event_key,
        member.key as property_path,
        '/' || replace(replace(member.key, '~', '~0'), '/', '~1') as pointer,
        member.value,
        member.type
    from usage_events, json_each(usage_events.metadata) as member
    union all
    select
        leaves.usage_event_key,
        leaves.property_path || '.' || member.key as property_path,
        leaves.pointer || '/' || replace(replace(member.key, '~', '~0'), '/', '~1') as pointer,
        member.value,
        member.type
    from leaves, json_each(leaves.value) as member
    where leaves.type in ('OBJECT', 'ARRAY')

),

typed_leaves as (

    select
        usage_events.usage_event_key,
        usage_events.organization_id,
        usage_events.event_name,
        usage_events.load_id,
        leaves.property_path,
        leaves.pointer,
        leaves.value,
        case
            when leaves.type = 'VARCHAR' then 'string'
            when leaves.type = 'BOOLEAN' then 'boolean'
            else 'number'
        end as value_type,
        usage_events.exact_numbers
    from leaves
    inner join usage_events on leaves.usage_event_key = usage_events.usage_event_key
    where leaves.type not in ('OBJECT', 'ARRAY', 'NULL')

),

exact_leaves as (

    select
        *,
        case
            when value_type != 'number' then null
            when exact_numbers is not null then {{ exact_number('exact_numbers', 'pointer') }}
            else try_cast(cast(value as varchar) as decimal(38, 12))
        end as value_decimal
    from typed_leaves

)

select
    usage_event_key,
    organization_id,
    event_name,
    property_path,
    pointer,
    value_type,
    case when value_type = 'string' then json_extract_string(value, '$') end as value_string,
    case when value_type = 'number' then cast(cast(value as varchar) as double) end as value_number,
    value_decimal,
    value_type = 'number' and value_decimal is null as is_inexact,
    case when value_type = 'boolean' then cast(value as boolean) end as value_boolean,
    load_id
from exact_leaves
