{#
    Usage that passes a meter is charged, or is still in a trial. What is listed here was metered and is never billed:
    unknown customers, customers without a subscription or price, stranded entries, values that are no numbers. A finding
    about the data, not about the model.
#}

{{ config(severity='warn') }}

select
    organization_id,
    meter_id,
    reason as outcome,
    count(*) as event_count,
    min(usage_event_key) as first_usage_event_key
from {{ ref('int_metered_events_routed') }}
where reason in ('unknown_customer', 'no_subscription', 'no_price', 'stranded', 'non_numeric')
group by organization_id, meter_id, reason
