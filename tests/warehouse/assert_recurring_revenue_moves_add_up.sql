{#
    Movements of recurring revenue add up: each row from its opening to its closing, each customer's rows one after the
    other, and all of them to the recurring revenue of the organization, where it has one currency. Else a churn that is
    explained would not be the churn that is seen.
#}

with

movements as (

    select * from {{ ref('mrr_movements') }}

),

chained_movements as (

    select
        *,
        lag(closing_mrr_amount, 1, 0) over (
            partition by organization_id, customer_key, currency order by movement_month
        ) as closing_before_amount
    from movements

),

months as (

    select * from {{ ref('revenue_metrics') }}
    where bucket_type = 'month'

),

{# Where a currency settles in another, the rates move recurring revenue too. #}
organizations_of_one_currency as (

    select organization_id from {{ ref('int_subscriptions_merged') }}
    group by organization_id
    having count(distinct currency) = 1 and bool_and(coalesce(currency, 'usd') = 'usd')

),

changes as (

    select
        organization_id,
        movement_month,
        sum(change_mrr_amount) as change_amount
    from movements
    semi join organizations_of_one_currency on movements.organization_id = organizations_of_one_currency.organization_id
    group by organization_id, movement_month

),

changes_of_months as (

    select
        organization_id,
        bucket_start_date,
        monthly_recurring_revenue_amount
        - lag(monthly_recurring_revenue_amount, 1, 0) over (partition by organization_id order by bucket_start_date) as change_amount
    from months
    semi join organizations_of_one_currency on months.organization_id = organizations_of_one_currency.organization_id
    where currency = 'usd'

)

select
    'row_adds_up' as claim,
    organization_id,
    customer_key,
    movement_month
from movements
where
    opening_mrr_amount + new_mrr_amount + reactivated_mrr_amount + expansion_mrr_amount + contraction_mrr_amount + churned_mrr_amount
    != closing_mrr_amount
    or change_mrr_amount != closing_mrr_amount - opening_mrr_amount
union all
select
    'rows_follow_each_other' as claim,
    organization_id,
    customer_key,
    movement_month
from chained_movements
where opening_mrr_amount != closing_before_amount
union all
select
    'months_add_up' as claim,
    coalesce(changes_of_months.organization_id, changes.organization_id) as organization_id,
    null as customer_key,
    coalesce(changes_of_months.bucket_start_date, changes.movement_month) as movement_month
from changes_of_months
full join changes
    on
        changes_of_months.organization_id = changes.organization_id
        and changes_of_months.bucket_start_date = changes.movement_month
where coalesce(changes_of_months.change_amount, 0) != coalesce(changes.change_amount, 0)
