{{ config(
    materialized='incremental',
    touched_by='int_delivery_days_touched', touched_on=['organization_id', 'usage_date']
) }}

{#
    What was sent against what Polar recorded, where both are landed: within the time that an organization's submissions
    and its recorded usage both cover. A recorded event with an external id is the copy of that submission, whatever day
    or customer either names. One without can be any submission's copy: only counts tell how many are missing.
#}

with

organizations as (

    select * from {{ ref('int_organizations_covered') }}
    where submitted_usage_from_at is not null and recorded_usage_from_at is not null

),

usage_events as (

    select
        *,
        cast(occurred_at as date) as usage_date
    from {{ ref('int_usage_events_counted') }}
    where {{ within_span('int_delivery_days_touched', 'occurred_at', 'cast(usage_date as timestamp)', 'cast(usage_date + 1 as timestamp)') }}

),

covered_deliveries as (

    select usage_events.*
    from usage_events{{ touched_only('int_delivery_days_touched', ['organization_id', 'usage_date']) }}
    inner join organizations on usage_events.organization_id = organizations.organization_id
    where
        {# Of a pair the recorded copy stands for both. #}
        (usage_events.is_counted or not usage_events.is_recorded)
        and usage_events.occurred_at between organizations.submitted_usage_from_at and organizations.submitted_usage_to_at
        and usage_events.occurred_at between organizations.recorded_usage_from_at and organizations.recorded_usage_to_at

),

counts as (

    select
        organization_id,
        customer_key,
        event_name,
        usage_date,
        count(*) filter (where is_submitted) as submitted_count,
        count(*) filter (where is_recorded) as recorded_count,
        count(*) filter (where is_submitted and not is_recorded) as unpaired_count,
        count(*) filter (where is_anonymous) as anonymous_count,
        count(*) filter (where is_recorded and not is_submitted and not is_anonymous) as unknown_count
    from covered_deliveries
    group by organization_id, customer_key, event_name, usage_date

)

select
    {{ surrogate_key(["'delivery'", 'organization_id', 'customer_key', 'event_name', 'usage_date']) }} as delivery_reconciliation_key,
    organization_id,
    customer_key,
    event_name,
    usage_date,
    submitted_count,
    recorded_count,
    greatest(unpaired_count - anonymous_count, 0) as missing_count,
    greatest(anonymous_count - unpaired_count, 0) + unknown_count as extra_count
from counts
