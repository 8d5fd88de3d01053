{#
    Polar writes no event and no currency that this project does not know. A new kind of event may change periods or
    amounts, and a currency without its digits cannot be shown. A finding about the data.
#}

{{ config(severity='warn') }}

select
    'system event' as finding,
    system_events.event_name as name,
    count(*) as row_count
from {{ ref('stg_polar__system_events') }} as system_events
anti join {{ ref('system_events') }} as known_events on system_events.event_name = known_events.event_name
group by system_events.event_name
union all
select
    'currency' as finding,
    orders.currency as name,
    count(*) as row_count
from {{ ref('orders') }} as orders
anti join {{ ref('currencies') }} as currencies on orders.currency = currencies.currency
where orders.currency is not null
group by orders.currency
