{#
    Months in which a customer's recurring revenue is another than the month before. In the currency of the subscriptions,
    so that no exchange rate moves anything.
#}

with

recurring_revenue as (

    select * from {{ ref('int_recurring_revenue') }}
    where
        bucket_type = 'month' and not is_restated
        and recurring_from_date < coalesce(recurring_to_date, date '9999-12-31')

),

changes as (

    select
        organization_id,
        customer_key,
        currency,
        known_until_date,
        recurring_from_date as movement_month,
        monthly_amount as amount
    from recurring_revenue
    union all
    select
        organization_id,
        customer_key,
        currency,
        known_until_date,
        recurring_to_date as movement_month,
        -monthly_amount as amount
    from recurring_revenue
    where recurring_to_date is not null

),

months as (

    select
        changes.organization_id,
        changes.customer_key,
        changes.currency,
        changes.movement_month,
        sum(changes.amount) as change_amount
    from changes
    {# An end that is scheduled for later has churned nothing yet. #}
    where changes.movement_month <= changes.known_until_date
    group by changes.organization_id, changes.customer_key, changes.currency, changes.movement_month

),

balances as (

    select
        *,
        sum(change_amount) over so_far as closing_mrr_amount,
        closing_mrr_amount - change_amount as opening_mrr_amount,
        coalesce(max(change_amount) over before > 0, false) as was_there_before
    from months
    where change_amount != 0
    window
        so_far as (partition by organization_id, customer_key, currency order by movement_month),
        before as (
            partition by organization_id, customer_key, currency
            order by movement_month rows between unbounded preceding and 1 preceding
        )

)

select
    {{ surrogate_key(["'mrr_movement'", 'organization_id', 'customer_key', 'currency', 'movement_month']) }} as mrr_movement_key,
    organization_id,
    customer_key,
    movement_month,
    currency,
    cast(opening_mrr_amount as bigint) as opening_mrr_amount,
    cast(case when opening_mrr_amount = 0 and not was_there_before then change_amount else 0 end as bigint) as new_mrr_amount,
    cast(case when opening_mrr_amount = 0 and was_there_before then change_amount else 0 end as bigint) as reactivated_mrr_amount,
    cast(case when opening_mrr_amount != 0 and change_amount > 0 then change_amount else 0 end as bigint) as expansion_mrr_amount,
    cast(case when opening_mrr_amount != 0 and closing_mrr_amount != 0 and change_amount < 0 then change_amount else 0 end as bigint) as contraction_mrr_amount,
    cast(case when opening_mrr_amount != 0 and closing_mrr_amount = 0 then change_amount else 0 end as bigint) as churned_mrr_amount,
    cast(change_amount as bigint) as change_mrr_amount,
    cast(closing_mrr_amount as bigint) as closing_mrr_amount
from balances
