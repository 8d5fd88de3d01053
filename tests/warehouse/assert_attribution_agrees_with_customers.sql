{#
    Usage is attributed `unknown_customer` exactly where its customer is not known to Polar. Otherwise usage is called lost
    whose customer is in the books, or the other way round. Changed events are enough: a customer that becomes known
    changes the attribution of its events.
#}

select
    usage_events.organization_id,
    usage_events.customer_key,
    usage_events.attribution,
    customers.is_known_to_polar,
    count(*) as event_count
from {{ rows_to_test(ref('usage_events')) }} as usage_events
inner join {{ ref('customers') }} as customers on usage_events.customer_key = customers.customer_key
where (usage_events.attribution = 'unknown_customer') = customers.is_known_to_polar
group by all
