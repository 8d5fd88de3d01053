{#
    One row per subscription period: the list price of what is charged in advance when the period starts. Without a
    discount the amount that Polar wrote into subscription.created or cycled at that boundary wins; with one that amount
    is net of it, so the list price is the sum of the static prices the plan carries: those of seats and units at the
    number that the subscription has then.
#}

with

periods as (

    select * from {{ ref('int_subscription_periods') }}
    where period_type = 'subscription'

),

subscriptions as (

    select * from {{ ref('int_subscriptions_merged') }}

),

subscription_prices as (

    select * from {{ ref('int_subscription_prices') }}

),

orders as (

    select * from {{ ref('int_orders_merged') }}

),

discounted_subscriptions as (

    select subscription_key from subscriptions
    where discount_id is not null
    union
    select subscription_key from orders
    where subscription_key is not null and (discount_id is not null or discount_amount != 0)

),

written_amounts as (

    select
        subscriptions.subscription_key,
        system_events.amount,
        case
            when system_events.event_name = 'subscription.created' then subscriptions.started_at
            else system_events.occurred_at
        end as written_at
    from {{ ref('stg_polar__system_events') }} as system_events
    inner join subscriptions
        on
            system_events.organization_id = subscriptions.organization_id
            and system_events.subscription_id = subscriptions.subscription_id
    anti join discounted_subscriptions on subscriptions.subscription_key = discounted_subscriptions.subscription_key
    where
        system_events.event_name in ('subscription.created', 'subscription.cycled', 'subscription.resumed')
        and system_events.amount is not null

),

amounts_at_boundaries as (

    select
        periods.billing_period_key,
        arg_min(written_amounts.amount, (written_amounts.written_at, written_amounts.amount)) as amount
    from periods
    inner join written_amounts
        on
            periods.subscription_key = written_amounts.subscription_key
            and periods.period_start_at <= written_amounts.written_at
            and written_amounts.written_at < least(periods.period_end_at, periods.period_start_at + interval '1 day')
    group by periods.billing_period_key

),

{#
    What is said of the number of seats and units: by a change, and by each version of the subscription. A change that is
    to come with the next period is written when it is asked for, and is there at the boundary.
#}
quantities_said as (

    select
        subscriptions.subscription_key,
        system_events.occurred_at as said_at,
        system_events.old_seats,
        coalesce(system_events.new_seats, system_events.seats) as seats,
        system_events.old_units,
        coalesce(system_events.new_units, system_events.units) as units
    from {{ ref('stg_polar__system_events') }} as system_events
    inner join subscriptions
        on
            system_events.organization_id = subscriptions.organization_id
            and system_events.subscription_id = subscriptions.subscription_id
    where system_events.event_name in ('subscription.seats_updated', 'subscription.units_updated', 'subscription.updated')
    union all
    select
        subscriptions.subscription_key,
        {# A version without a time of change is the subscription as it was made. #}
        coalesce(versions.modified_at, timestamp '-infinity') as said_at,
        versions.seats as old_seats,
        versions.seats,
        versions.units as old_units,
        versions.units
    from {{ ref('stg_polar__subscriptions') }} as versions
    inner join subscriptions
        on
            versions.organization_id = subscriptions.organization_id
            and versions.subscription_id = subscriptions.subscription_id

),

{# What was said last before the boundary; where nothing was, what the next one says was before. #}
quantities_at_boundaries as (

    select
        periods.billing_period_key,
        {%- for quantity in ['seats', 'units'] %}
        coalesce(
            arg_max(quantities_said.{{ quantity }}, (quantities_said.said_at, quantities_said.{{ quantity }}))
                filter (where quantities_said.said_at < periods.period_start_at and quantities_said.{{ quantity }} is not null),
            arg_min(quantities_said.old_{{ quantity }}, (quantities_said.said_at, quantities_said.old_{{ quantity }}))
                filter (where quantities_said.said_at >= periods.period_start_at and quantities_said.old_{{ quantity }} is not null)
        ) as {{ quantity }}{{ "," if not loop.last }}
        {%- endfor %}
    from periods
    inner join quantities_said on periods.subscription_key = quantities_said.subscription_key
    group by periods.billing_period_key

),

priced_periods as (

    select
        periods.billing_period_key,
        subscription_prices.meter_id,
        case
            when subscription_prices.amount_type in ('seat_based', 'unit_based') then rate_tiers(
                coalesce(
                    json_extract_string(subscription_prices.tiers, '$.type'),
                    json_extract_string(subscription_prices.tiers, '$.seat_tier_type'),
                    {# Before seats had types, all were at the rate of the tier their number falls in. #}
                    case subscription_prices.amount_type when 'seat_based' then 'volume' end
                ),
                subscription_prices.tiers,
                cast(
                    case subscription_prices.amount_type when 'seat_based' then quantities.seats else quantities.units end
                    as double
                ),
                cast(0 as double)
            )
            else subscription_prices.static_amount
        end as amount
    from periods
    inner join subscription_prices
        on
            periods.subscription_key = subscription_prices.subscription_key
            and subscription_prices.plan_starts_at <= periods.period_start_at
            and periods.period_start_at < subscription_prices.plan_ends_at
    left join quantities_at_boundaries as quantities on periods.billing_period_key = quantities.billing_period_key

),

list_amounts as (

    select
        billing_period_key,
        {# One price of unknown amount makes the sum unknown: null, not too little. #}
        case
            when count(*) filter (where meter_id is null and amount is null) = 0 then cast(coalesce(sum(amount), 0) as bigint)
        end as amount
    from priced_periods
    group by billing_period_key

),

custom_prices as (

    select distinct subscription_key from subscription_prices
    where amount_type = 'custom'

)

select
    periods.billing_period_key,
    periods.subscription_key,
    periods.period_start_at,
    coalesce(
        amounts_at_boundaries.amount,
        list_amounts.amount,
        {# Pay what you want: the amount chosen is the subscription's own, if no discount hides it. #}
        case
            when custom_prices.subscription_key is not null and discounted_subscriptions.subscription_key is null
                then subscriptions.amount
        end
    ) as static_amount,
    list_amounts.billing_period_key is not null as has_known_prices
from periods
inner join subscriptions on periods.subscription_key = subscriptions.subscription_key
left join amounts_at_boundaries on periods.billing_period_key = amounts_at_boundaries.billing_period_key
left join list_amounts on periods.billing_period_key = list_amounts.billing_period_key
left join custom_prices on periods.subscription_key = custom_prices.subscription_key
left join discounted_subscriptions on periods.subscription_key = discounted_subscriptions.subscription_key
