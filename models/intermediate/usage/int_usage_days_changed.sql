{# The customers' days whose usage may sum up otherwise since the last build, with their months. #}

with

days as (

    select
        organization_id,
        old_customer_key as customer_key,
        cast(occurred_at as date) as usage_date
    from {{ ref('int_usage_events_changed') }}
    where old_customer_key is not null
    union
    select
        attributed_events.organization_id,
        attributed_events.customer_key,
        cast(attributed_events.occurred_at as date) as usage_date
    from {{ ref('int_usage_events_attributed') }} as attributed_events
    semi join {{ ref('int_usage_events_changed') }} as changed_events
        on
            attributed_events.load_id = changed_events.load_id
            and attributed_events.file_number = changed_events.file_number
            and attributed_events.record_number = changed_events.record_number

)

select
    *,
    cast(date_trunc('month', usage_date) as date) as usage_month
from days
