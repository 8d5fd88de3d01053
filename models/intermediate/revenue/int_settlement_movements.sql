{#
    One row per movement of an order's money, in the currency it settles in: Polar's balance events, and orders that are
    known to be paid by their object or webhook alone, where no events are landed. Revenue follows the order (net_amount
    at the order's rate), everything else follows the money.

    What Polar's own dashboard makes of a movement stands beside it (`_as_polar`, always in Polar's settlement currency).
#}
{% set settlement_currency = "'usd'" %}
{% set charges = "('balance.order', 'balance.credit_order')" %}

with

system_events as (

    select * from {{ ref('stg_polar__system_events') }}
    where event_name = 'order.paid' or event_name like 'balance.%'

),

orders as (

    select * from {{ ref('int_orders_merged') }}

),

customers as (

    select * from {{ ref('int_customers_merged') }}

),

{#
    settled amount = presented amount x numerator / denominator. A rate of 0 is none; without one the two amounts of the
    event tell it.
#}
balance_events as (

    select
        system_events.system_event_key as movement_key,
        system_events.organization_id,
        system_events.order_id,
        system_events.customer_id,
        system_events.subscription_id,
        substr(system_events.event_name, 9) as kind,
        system_events.dispute_id,
        case system_events.event_name
            when 'balance.credit_order' then coalesce(system_events.currency, {{ settlement_currency }})
            else coalesce(system_events.presentment_currency, system_events.currency, {{ settlement_currency }})
        end as order_currency,
        coalesce(system_events.currency, {{ settlement_currency }}) as event_currency,
        system_events.amount,
        system_events.net_amount,
        system_events.tax_amount,
        coalesce(system_events.fee, 0) as fee,
        system_events.presentment_amount,
        case
            when system_events.exchange_rate != 0 then {{ rate_numerator('system_events.exchange_rate') }}
            when system_events.presentment_amount != 0
                then cast(system_events.amount * sign(system_events.presentment_amount) as hugeint)
        end as rate_numerator,
        case
            when system_events.exchange_rate != 0 then {{ rate_unit() }}
            when system_events.presentment_amount != 0 then cast(abs(system_events.presentment_amount) as hugeint)
        end as rate_denominator,
        case
            when system_events.exchange_rate != 0 then 'event'
            when system_events.presentment_amount != 0 then 'amounts'
        end as rate_basis,
        system_events.occurred_at,
        coalesce(system_events.order_created_at, system_events.occurred_at) as booked_at
    from system_events
    where system_events.event_name != 'order.paid'

),

{# Without events an order's object says what was paid, and nothing says at which rate it settled. #}
orders_without_events as (

    select
        *,
        coalesce(created_at, paid_at) as ordered_at
    from orders
    where is_paid and not has_events and coalesce(created_at, paid_at) is not null

),

charges as (

    select * from balance_events
    where kind in ('order', 'credit_order')
    union all by name
    select
        {{ key_text('order_key') }} as movement_key,
        organization_id,
        order_id,
        customer_id,
        subscription_id,
        'order_object' as kind,
        coalesce(currency, {{ settlement_currency }}) as order_currency,
        coalesce(currency, {{ settlement_currency }}) as event_currency,
        net_amount as amount,
        net_amount,
        tax_amount,
        0 as fee,
        ordered_at as occurred_at,
        ordered_at as booked_at
    from orders_without_events

),

{# Charges that know their rate, for those that do not: one per instant, so that a lookup has one answer. #}
known_rates as (

    select
        organization_id,
        customer_id,
        subscription_id,
        order_currency,
        event_currency,
        rate_numerator,
        rate_denominator,
        occurred_at,
        row_number() over (
            partition by organization_id, customer_id, order_currency, occurred_at order by movement_key
        ) as place_among_customers,
        row_number() over (
            partition by organization_id, customer_id, subscription_id, order_currency, occurred_at order by movement_key
        ) as place_among_subscriptions
    from charges
    {# A charge that settled as nothing tells no rate. #}
    where kind = 'order' and rate_numerator > 0

),

rates_of_customers as (

    select * from known_rates
    where place_among_customers = 1

),

rates_of_subscriptions as (

    select * from known_rates
    where place_among_subscriptions = 1

),

{#
    What settled at a rate of its own, or borrows the latest earlier one of the customer in that currency, first of the
    same subscription. Where there is none, Polar takes 1 and adds euros to dollars; here the order stays in its own
    currency. Nothing is nothing in any currency.
#}
rated_charges as (

    select
        charges.* exclude (rate_numerator, rate_denominator, rate_basis),
        case
            when charges.kind = 'order' then coalesce(charges.rate_numerator, 1)
            when charges.rate_numerator is not null then charges.rate_numerator
            when rates_of_subscriptions.rate_numerator is not null then rates_of_subscriptions.rate_numerator
            when rates_of_customers.rate_numerator is not null then rates_of_customers.rate_numerator
            else 1
        end as rate_numerator,
        case
            when charges.kind = 'order' then coalesce(charges.rate_denominator, 1)
            when charges.rate_numerator is not null then charges.rate_denominator
            when rates_of_subscriptions.rate_numerator is not null then rates_of_subscriptions.rate_denominator
            when rates_of_customers.rate_numerator is not null then rates_of_customers.rate_denominator
            else 1
        end as rate_denominator,
        case
            when charges.rate_basis is not null then charges.rate_basis
            when charges.kind = 'order' then 'none'
            when coalesce(rates_of_subscriptions.rate_numerator, rates_of_customers.rate_numerator) is not null then 'earlier_order'
            else 'none'
        end as rate_basis,
        case
            when charges.rate_basis is not null or charges.kind = 'order' then charges.occurred_at
            else coalesce(rates_of_subscriptions.occurred_at, rates_of_customers.occurred_at)
        end as rate_at,
        case
            when charges.kind = 'order' then charges.event_currency
            when charges.rate_basis is not null then {{ settlement_currency }}
            when rates_of_subscriptions.rate_numerator is not null then rates_of_subscriptions.event_currency
            when rates_of_customers.rate_numerator is not null then rates_of_customers.event_currency
            when coalesce(charges.net_amount, charges.amount, 0) = 0 and charges.fee = 0 then {{ settlement_currency }}
            else charges.order_currency
        end as currency
    from charges
    asof left join rates_of_subscriptions
        on
            charges.organization_id = rates_of_subscriptions.organization_id
            and charges.customer_id = rates_of_subscriptions.customer_id
            and charges.subscription_id = rates_of_subscriptions.subscription_id
            and charges.order_currency = rates_of_subscriptions.order_currency
            and charges.occurred_at > rates_of_subscriptions.occurred_at
    asof left join rates_of_customers
        on
            charges.organization_id = rates_of_customers.organization_id
            and charges.customer_id = rates_of_customers.customer_id
            and charges.order_currency = rates_of_customers.order_currency
            and charges.occurred_at > rates_of_customers.occurred_at

),

{# An order counts when it was paid or made, whichever was first: the charge is stamped with its creation. #}
order_times as (

    select
        organization_id,
        order_id,
        min(occurred_at) as ordered_at,
        max(customer_id) as customer_id,
        max(subscription_id) as subscription_id,
        min(system_event_key) as system_event_key,
        bool_or(event_name in {{ charges }}) as has_charge
    from system_events
    where order_id is not null and event_name in ('order.paid', 'balance.order', 'balance.credit_order')
    group by organization_id, order_id

),

valued_charges as (

    select
        rated_charges.movement_key,
        rated_charges.organization_id,
        rated_charges.order_id,
        rated_charges.customer_id,
        rated_charges.subscription_id,
        rated_charges.kind,
        rated_charges.currency,
        rated_charges.order_currency,
        rated_charges.rate_numerator,
        rated_charges.rate_denominator,
        rated_charges.rate_basis,
        rated_charges.rate_at,
        rated_charges.occurred_at,
        rated_charges.booked_at,
        coalesce(order_times.ordered_at, rated_charges.booked_at) as ordered_at,
        row_number() over (
            partition by rated_charges.organization_id, rated_charges.order_id
            order by rated_charges.occurred_at, rated_charges.movement_key
        ) = 1 and rated_charges.order_id is not null as is_order_counted,
        coalesce(case
            when rated_charges.order_id is not null then {{ convert_amount('coalesce(rated_charges.net_amount, rated_charges.amount, 0)', 'rated_charges.rate_numerator', 'rated_charges.rate_denominator') }}
        end, 0) as revenue_amount,
        {# In figures of orders, debt that was collected with an order is no revenue of it. #}
        coalesce(case
            when rated_charges.order_id is not null then {{ convert_amount('coalesce(rated_charges.net_amount, rated_charges.amount - greatest(0, coalesce(orders.applied_balance_amount, 0)), 0)', 'rated_charges.rate_numerator', 'rated_charges.rate_denominator') }}
        end, 0) as order_revenue_amount,
        case when is_order_counted then coalesce({{ convert_amount('coalesce(orders.discount_amount, 0)', 'rated_charges.rate_numerator', 'rated_charges.rate_denominator') }}, 0) else 0 end as discount_amount,
        case when is_order_counted then coalesce({{ convert_amount('coalesce(rated_charges.tax_amount, orders.tax_amount, 0)', 'rated_charges.rate_numerator', 'rated_charges.rate_denominator') }}, 0) else 0 end as tax_amount,
        case when is_order_counted then
            coalesce({{ convert_amount('coalesce(rated_charges.net_amount, rated_charges.amount, 0) + coalesce(rated_charges.tax_amount, orders.tax_amount, 0) + coalesce(orders.discount_amount, 0)', 'rated_charges.rate_numerator', 'rated_charges.rate_denominator') }}, 0)
        else revenue_amount end as gross_amount,
        case when rated_charges.kind = 'order' then rated_charges.amount else 0 end as settled_amount,
        case when rated_charges.kind = 'order' then rated_charges.presentment_amount else 0 end as charged_amount,
        rated_charges.fee as fee_amount,
        {# Polar has every charge in the currency of settlement. An object alone says nothing of what Polar makes of it. #}
        rated_charges.kind = 'order_object' or rated_charges.currency = {{ settlement_currency }} as is_as_polar
    from rated_charges
    left join order_times
        on
            rated_charges.organization_id = order_times.organization_id
            and rated_charges.order_id = order_times.order_id
    left join orders
        on
            rated_charges.organization_id = orders.organization_id
            and rated_charges.order_id = orders.order_id

),

{# The fee in the currency it is in, which is not the order's where the order stays in its own. #}
fees_of_objects as (

    select
        md5({{ key_text('order_key') }} || 'fee') as movement_key,
        organization_id,
        order_id,
        customer_id,
        subscription_id,
        'order_fee' as kind,
        coalesce(platform_fee_currency, {{ settlement_currency }}) as currency,
        currency as order_currency,
        ordered_at as occurred_at,
        ordered_at as booked_at,
        ordered_at,
        cast(platform_fee_amount as bigint) as fee_amount,
        true as is_as_polar
    from orders_without_events
    where platform_fee_amount != 0

),

orders_with_refund_events as (

    select distinct
        organization_id,
        order_id
    from balance_events
    where kind in ('refund', 'refund_reversal') and order_id is not null

),

refunds_of_objects as (

    select
        md5(valued_charges.movement_key || 'refund') as movement_key,
        valued_charges.organization_id,
        valued_charges.order_id,
        valued_charges.customer_id,
        valued_charges.subscription_id,
        'refund' as kind,
        valued_charges.currency,
        valued_charges.order_currency,
        valued_charges.occurred_at,
        valued_charges.booked_at,
        valued_charges.ordered_at,
        {{ convert_amount('orders_without_events.refunded_amount', 'valued_charges.rate_numerator', 'valued_charges.rate_denominator') }} as refund_amount,
        refund_amount as refund_amount_as_polar,
        true as is_as_polar
    from orders_without_events
    inner join valued_charges
        on
            {{ key_text('orders_without_events.order_key') }} = valued_charges.movement_key
            and valued_charges.kind = 'order_object'
    anti join orders_with_refund_events
        on
            orders_without_events.organization_id = orders_with_refund_events.organization_id
            and orders_without_events.order_id = orders_with_refund_events.order_id
    where orders_without_events.refunded_amount != 0

),

disputes as (

    select
        organization_id,
        dispute_id,
        max(fee) as fee
    from balance_events
    where kind = 'dispute' and dispute_id is not null
    group by organization_id, dispute_id

),

{#
    Positive: money that went back. `amount` is in the settlement's currency already; Polar multiplies it by the rate once
    more, so that a refund of 11.00 usd for 10.00 eur takes 12.10 off its net revenue.
#}
returns as (

    select
        balance_events.movement_key,
        balance_events.organization_id,
        balance_events.order_id,
        balance_events.customer_id,
        balance_events.subscription_id,
        balance_events.kind,
        balance_events.event_currency as currency,
        balance_events.order_currency,
        balance_events.occurred_at,
        balance_events.booked_at,
        order_times.ordered_at,
        balance_events.fee as fee_amount,
        {# A won dispute may repeat its dispute's fee. #}
        case when balance_events.kind = 'dispute_reversal' and disputes.fee = balance_events.fee then balance_events.fee else 0 end as repeated_fee_amount,
        case when balance_events.kind in ('refund', 'refund_reversal') then -coalesce(balance_events.amount, 0) else 0 end as refund_amount,
        case when balance_events.kind = 'refund_reversal' then coalesce(balance_events.amount, 0) else 0 end as refund_reversal_amount,
        case when balance_events.kind in ('dispute', 'dispute_reversal') then -coalesce(balance_events.amount, 0) else 0 end as dispute_amount,
        case when balance_events.kind = 'dispute_reversal' then coalesce(balance_events.amount, 0) else 0 end as dispute_reversal_amount,
        coalesce(-{{ convert_amount('coalesce(balance_events.net_amount, balance_events.amount, 0)', 'coalesce(balance_events.rate_numerator, 1)', 'coalesce(balance_events.rate_denominator, 1)') }}, 0) as returned_amount_as_polar,
        case when balance_events.kind in ('refund', 'refund_reversal') then returned_amount_as_polar else 0 end as refund_amount_as_polar,
        true as is_as_polar
    from balance_events
    left join disputes
        on
            balance_events.organization_id = disputes.organization_id
            and balance_events.dispute_id = disputes.dispute_id
    left join order_times
        on
            balance_events.organization_id = order_times.organization_id
            and balance_events.order_id = order_times.order_id
    where balance_events.kind in ('refund', 'refund_reversal', 'dispute', 'dispute_reversal')

),

{# Orders of zero at a trial's start have no balance event: they count as orders all the same. #}
orders_without_charge as (

    select
        system_event_key as movement_key,
        organization_id,
        order_id,
        customer_id,
        subscription_id,
        'no_charge' as kind,
        {{ settlement_currency }} as currency,
        ordered_at as occurred_at,
        ordered_at as booked_at,
        ordered_at,
        true as is_order_counted,
        true as is_as_polar
    from order_times
    where not has_charge

),

movements as (

    select * from valued_charges
    union all by name
    select * from fees_of_objects
    union all by name
    select * from refunds_of_objects
    union all by name
    select * from returns
    union all by name
    select * from orders_without_charge

),

{# What Polar adds to its own currency at a rate of 1, though nothing says so: a second row, that holds nothing else. #}
movements_and_polars as (

    select
        *,
        case when is_as_polar then coalesce(revenue_amount, 0) else 0 end as revenue_amount_as_polar,
        case
            when is_as_polar then
                coalesce(revenue_amount, 0) - coalesce(fee_amount, 0) - coalesce(returned_amount_as_polar, refund_amount_as_polar, 0)
            else 0
        end as net_revenue_amount_as_polar
    from movements
    union all by name
    select
        md5(movement_key || 'polar') as movement_key,
        organization_id,
        order_id,
        customer_id,
        subscription_id,
        'as_polar' as kind,
        {{ settlement_currency }} as currency,
        order_currency,
        occurred_at,
        booked_at,
        ordered_at,
        true as is_as_polar,
        revenue_amount as revenue_amount_as_polar,
        revenue_amount - fee_amount as net_revenue_amount_as_polar
    from valued_charges
    where not is_as_polar

)

select
    cast(movements_and_polars.movement_key as varchar) as settlement_movement_key,
    movements_and_polars.organization_id,
    order_id,
    movements_and_polars.customer_id,
    customers.customer_key,
    subscription_id,
    kind,
    currency,
    order_currency,
    rate_basis,
    {# For reading: amounts are converted by its two parts. #}
    try_cast(cast(rate_numerator as double) / cast(rate_denominator as double) as decimal(38, 12)) as exchange_rate,
    coalesce(is_order_counted, false) as is_order_counted,
    cast(coalesce(gross_amount, 0) as bigint) as gross_amount,
    cast(coalesce(discount_amount, 0) as bigint) as discount_amount,
    cast(coalesce(tax_amount, 0) as bigint) as tax_amount,
    cast(coalesce(revenue_amount, 0) as bigint) as revenue_amount,
    cast(coalesce(order_revenue_amount, 0) as bigint) as order_revenue_amount,
    cast(coalesce(settled_amount, 0) as bigint) as settled_amount,
    cast(charged_amount as bigint) as charged_amount,
    cast(coalesce(fee_amount, 0) as bigint) as fee_amount,
    cast(coalesce(repeated_fee_amount, 0) as bigint) as repeated_fee_amount,
    cast(coalesce(refund_amount, 0) as bigint) as refund_amount,
    cast(coalesce(refund_reversal_amount, 0) as bigint) as refund_reversal_amount,
    cast(coalesce(dispute_amount, 0) as bigint) as dispute_amount,
    cast(coalesce(dispute_reversal_amount, 0) as bigint) as dispute_reversal_amount,
    cast(revenue_amount_as_polar as bigint) as revenue_amount_as_polar,
    cast(net_revenue_amount_as_polar as bigint) as net_revenue_amount_as_polar,
    occurred_at,
    booked_at,
    ordered_at,
    rate_at
from movements_and_polars
left join customers
    on
        movements_and_polars.organization_id = customers.organization_id
        and movements_and_polars.customer_id = customers.customer_id
