{#
    The billing periods whose usage may add up or be rated otherwise since the last build: those with touched events, as
    they were and as they are, received or occurred in them; those whose bounds, prices, meters, credits or subscription changed; and the period after
    each, into which its tail may slip. Empty where the build makes everything anew.
#}
{% if not works_in_place() %}

select
    billing_period_key,
    period_start_at as received_from_at,
    period_end_at as received_to_at
from {{ ref('int_metering_periods') }}
where
    false
    and 1 in (select load_id from {{ ref('int_routing_touched') }})
    and billing_period_key in (select billing_period_key from {{ ref('int_metered_events_routed') }})
    and billing_period_key in (select billing_period_key from {{ ref('int_late_events') }})
    and billing_period_key in (select billing_period_key from {{ ref('int_credits_granted') }})
    and subscription_key in (select subscription_key from {{ ref('int_carried_prices') }})
    and subscription_key in (select subscription_key from {{ ref('int_subscriptions_merged') }})
    and organization_id in (select organization_id from {{ ref('int_meters_known') }})

{% else %}

with

touched_events as (

    select * from {{ ref('int_routing_touched') }}

),

periods as (

    select billing_period_key, subscription_key, period_start_at, period_end_at from {{ ref('int_metering_periods') }}
    union
    select billing_period_key, subscription_key, period_start_at, period_end_at from applied.int_metering_periods

),

carried_prices as (

    select organization_id, subscription_key, meter_id from {{ ref('int_carried_prices') }}

),

changed_periods as (

    {{ differing_rows('int_metering_periods', ['billing_period_key', 'subscription_key', 'organization_id', 'period_start_at', 'period_end_at']) }}

),

changed_prices as (

    {{ differing_rows('int_carried_prices', [
        'subscription_key', 'price_id', 'meter_id', 'price_type', 'currency', 'unit_amount', 'tiers', 'cap_amount',
        'carried_from_at', 'carried_to_at'
    ]) }}

),

changed_meters as (

    {{ differing_rows('int_meters_known', ['organization_id', 'meter_id', 'aggregation_function', 'is_summable']) }}

),

changed_credits as (

    {{ differing_rows('int_credits_granted', ['billing_period_key', 'meter_id', 'price_id', 'credited_units']) }}

),

changed_subscriptions as (

    {{ differing_rows('int_subscriptions_merged', ['subscription_key', 'organization_id', 'customer_key']) }}
    union
    select distinct subscription_key, cast(null as varchar) as organization_id, cast(null as uuid) as customer_key
    from changed_prices
    union
    select distinct subscription_key, cast(null as varchar) as organization_id, cast(null as uuid) as customer_key
    from carried_prices
    semi join changed_meters using (organization_id, meter_id)

),

{# Late usage is also valued in the period it occurred in. #}
late_occurrences as (

    select subscription_key, occurred_at from {{ ref('int_late_events') }}
    semi join touched_events using (load_id, file_number, record_number)
    union
    select old_subscription_key as subscription_key, old_occurred_at as occurred_at from touched_events
    inner join periods on touched_events.old_billing_period_key = periods.billing_period_key
    where touched_events.old_occurred_at < periods.period_start_at

),

touched_keys as (

    select old_billing_period_key as billing_period_key from touched_events
    where old_billing_period_key is not null
    union
    select billing_period_key from {{ ref('int_metered_events_routed') }}
    semi join touched_events using (load_id, file_number, record_number)
    where billing_period_key is not null
    union
    select periods.billing_period_key from periods
    inner join late_occurrences
        on
            periods.subscription_key = late_occurrences.subscription_key
            and periods.period_start_at <= late_occurrences.occurred_at
            and late_occurrences.occurred_at < periods.period_end_at
    union
    select billing_period_key from changed_periods
    union
    select billing_period_key from changed_credits
    union
    select billing_period_key from periods
    semi join changed_subscriptions using (subscription_key)

),

following_keys as (

    select following.billing_period_key
    from periods
    semi join touched_keys using (billing_period_key)
    inner join periods as following
        on
            periods.subscription_key = following.subscription_key
            and periods.period_end_at = following.period_start_at

),

all_keys as (

    select billing_period_key from touched_keys
    union
    select billing_period_key from following_keys

)

select
    all_keys.billing_period_key,
    {# The tail of the period before counts as well. #}
    min(periods.period_start_at) - to_minutes({{ var('cutoff_slack_minutes') | int }}) as received_from_at,
    max(periods.period_end_at) as received_to_at
from all_keys
left join periods on all_keys.billing_period_key = periods.billing_period_key
group by all_keys.billing_period_key

{% endif %}
