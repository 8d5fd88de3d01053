{# `usage_history_starts_at` is a map from organization to timestamp; its entries are values, quoted once, here. #}
{% set starts = var('usage_history_starts_at') %}

with

spans as (

    select * from {{ ref('int_usage_spans') }}

),

system_events as (

    select * from {{ ref('stg_polar__system_events') }}

),

syncs as (

    select * from {{ ref('stg_polar__syncs') }}

),

organizations as (

    select organization_id from spans
    union
    select organization_id from system_events
    union
    select organization_id from {{ ref('stg_polar__orders') }}
    union
    select organization_id from {{ ref('stg_polar__subscriptions') }}
    union
    select organization_id from {{ ref('stg_polar__customers') }}

),

usage_spans as (

    select
        organization_id,
        min(first_at) as first_at,
        max(last_at) as last_at,
        max(last_received_at) as last_received_at,
        min(first_at) filter (where shape = 'recorded') as first_recorded_at,
        max(last_at) filter (where shape = 'recorded') as last_recorded_at,
        min(first_at) filter (where shape = 'submitted') as first_submitted_at,
        max(last_at) filter (where shape = 'submitted') as last_submitted_at
    from spans
    group by organization_id

),

system_spans as (

    select
        organization_id,
        min(occurred_at) as first_at,
        max(occurred_at) as last_at
    from system_events
    group by organization_id

),

order_spans as (

    select
        organization_id,
        max(created_at) as last_at
    from {{ ref('stg_polar__orders') }}
    group by organization_id

),

sync_spans as (

    select
        organization_id,
        min(covered_from_at) as covered_from_at,
        max(covered_to_at) as covered_to_at,
        max(finished_at) as finished_at
    from syncs
    group by organization_id

),

configured_starts as (

    select
        entry.key as organization_id,
        {{ utc('entry.value') }} as history_starts_at
    from (
        select unnest(map_entries(from_json({{ dbt.string_literal(tojson(starts)) }}, '"MAP(VARCHAR, VARCHAR)"'))) as entry
    )

),

covered_organizations as (

    select
        organizations.organization_id,
        coalesce(
            configured_starts.history_starts_at,
            least(usage_spans.first_at, system_spans.first_at)
        ) as history_starts_at,
        coalesce(sync_spans.finished_at, greatest(usage_spans.last_at, system_spans.last_at)) as data_horizon_at,
        {# The last instant of which anything is known, whatever as_of is. #}
        greatest(usage_spans.last_received_at, system_spans.last_at, order_spans.last_at) as last_record_at,
        least(usage_spans.first_recorded_at, sync_spans.covered_from_at) as recorded_usage_from_at,
        greatest(usage_spans.last_recorded_at, sync_spans.covered_to_at) as recorded_usage_to_at,
        usage_spans.first_submitted_at as submitted_usage_from_at,
        usage_spans.last_submitted_at as submitted_usage_to_at
    from organizations
    left join usage_spans on organizations.organization_id = usage_spans.organization_id
    left join system_spans on organizations.organization_id = system_spans.organization_id
    left join order_spans on organizations.organization_id = order_spans.organization_id
    left join sync_spans on organizations.organization_id = sync_spans.organization_id
    left join configured_starts on organizations.organization_id = configured_starts.organization_id

)

select * from covered_organizations
