{#
    Closed periods whose expected usage amount is another now than when they were first published closed. What was
    published is an input: `publish` appends to raw.published_periods, and nothing else writes there.
#}
{% set first_load_id = value_of(
    'select coalesce(min(through_load_id), 0) from raw.published_periods'
) if execute and model.resource_type == 'model' else 0 %}

with

published_periods as (

    select
        * replace (
            cast(billing_period_key as uuid) as billing_period_key,
            cast(subscription_key as uuid) as subscription_key
        )
    from {{ source('raw', 'published_periods') }}

),

current_periods as (

    select
        billing_period_key,
        currency,
        case when count(*) = count(expected_amount) then cast(sum(expected_amount) as bigint) end as expected_amount
    from {{ ref('int_metered_quantities') }}
    group by billing_period_key, currency

),

restated_periods as (

    select
        published_periods.billing_period_key,
        published_periods.organization_id,
        subscriptions.customer_key,
        published_periods.subscription_key,
        published_periods.currency,
        published_periods.period_start_at,
        published_periods.period_end_at,
        published_periods.published_at as first_published_at,
        published_periods.through_load_id,
        published_periods.expected_amount as closed_amount,
        current_periods.expected_amount as current_amount
    from published_periods
    left join current_periods
        on
            published_periods.billing_period_key = current_periods.billing_period_key
            and published_periods.currency is not distinct from current_periods.currency
    left join {{ ref('int_subscriptions_merged') }} as subscriptions
        on published_periods.subscription_key = subscriptions.subscription_key
    where published_periods.expected_amount is distinct from current_periods.expected_amount

),

{# Usage and credits that came in since. What else moved a period (a price, a customer that became known) has no record there. #}
later_records as (

    select
        restated_periods.billing_period_key,
        events.load_id
    from {{ ref('int_metered_events_routed') }} as events
    inner join restated_periods on events.billing_period_key = restated_periods.billing_period_key
    where events.load_id > {{ first_load_id }} and events.load_id > restated_periods.through_load_id
    union
    select
        restated_periods.billing_period_key,
        system_events.load_id
    from {{ ref('stg_polar__system_events') }} as system_events
    inner join {{ ref('int_customers_merged') }} as customers
        on
            system_events.organization_id = customers.organization_id
            and system_events.customer_id = customers.customer_id
    inner join restated_periods
        on
            customers.customer_key = restated_periods.customer_key
            and system_events.received_at >= restated_periods.period_start_at
            and system_events.received_at < restated_periods.period_end_at
    where
        system_events.load_id > {{ first_load_id }} and system_events.load_id > restated_periods.through_load_id
        and system_events.event_name in ('meter.credited', 'meter.reset')

),

loads_of_periods as (

    select
        billing_period_key,
        list(distinct load_id order by load_id) as load_ids
    from later_records
    group by billing_period_key

)

select
    {{ surrogate_key(["'period_restatement'", 'restated_periods.billing_period_key', 'restated_periods.currency']) }} as period_restatement_key,
    restated_periods.billing_period_key,
    restated_periods.organization_id,
    restated_periods.customer_key,
    restated_periods.subscription_key,
    restated_periods.currency,
    restated_periods.period_start_at,
    restated_periods.period_end_at,
    restated_periods.first_published_at,
    restated_periods.closed_amount,
    restated_periods.current_amount,
    restated_periods.current_amount - restated_periods.closed_amount as delta_amount,
    loads_of_periods.load_ids
from restated_periods
left join loads_of_periods on restated_periods.billing_period_key = loads_of_periods.billing_period_key
