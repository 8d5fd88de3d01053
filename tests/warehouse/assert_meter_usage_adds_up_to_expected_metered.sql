{#
    What a period's meter_usage rows should come to adds up to the metered amount expected on the order that settles it,
    and is in the order's currency. Otherwise the evidence under a variance does not explain it.
#}

with

reconciled_orders as (

    select * from {{ ref('order_reconciliation') }}

),

metered_usage as (

    select
        billing_period_key,
        count(*) filter (where expected_amount is null) as unrated_count,
        cast(sum(expected_amount) as bigint) as expected_amount,
        min(currency) as first_currency,
        max(currency) as last_currency
    from {{ ref('meter_usage') }}
    group by billing_period_key

)

select
    reconciled_orders.order_reconciliation_key,
    reconciled_orders.order_id,
    reconciled_orders.billing_period_key,
    reconciled_orders.status,
    reconciled_orders.expected_metered_amount,
    metered_usage.expected_amount as metered_usage_amount,
    metered_usage.unrated_count
from reconciled_orders
left join metered_usage on reconciled_orders.billing_period_key = metered_usage.billing_period_key
where
    (
        reconciled_orders.billing_period_key is not null
        and reconciled_orders.expected_metered_amount
        is distinct from case when coalesce(metered_usage.unrated_count, 0) = 0 then coalesce(metered_usage.expected_amount, 0) end
    )
    or (reconciled_orders.billing_period_key is null and reconciled_orders.expected_metered_amount != 0)
    or (
        reconciled_orders.status != 'not_comparable'
        and (
            metered_usage.first_currency is distinct from coalesce(metered_usage.last_currency, metered_usage.first_currency)
            or metered_usage.first_currency != reconciled_orders.currency
        )
    )
