{#
    Each customer has as many usage events as its days. Both are made of the events by different ways; what went to
    another customer in one of them only would show as usage that nobody can find.
#}

with

usage_daily as (

    select
        customer_key,
        sum(event_count) as event_count
    from {{ ref('usage_daily') }}
    group by customer_key

),

customers as (

    select * from {{ ref('customers') }}
    where usage_event_count > 0

)

select
    coalesce(customers.customer_key, usage_daily.customer_key) as customer_key,
    customers.organization_id,
    customers.usage_event_count,
    usage_daily.event_count
from customers
full outer join usage_daily on customers.customer_key = usage_daily.customer_key
where customers.usage_event_count is distinct from usage_daily.event_count
