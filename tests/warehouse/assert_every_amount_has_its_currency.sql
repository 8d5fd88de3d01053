{#
    Where an amount is set, the currency beside it is too. An amount without a currency will be added to another one.
    Nothing but the row itself is looked at: of tables that grow with events, those that changed are enough.
#}

select
    'usage_events' as table_name,
    usage_event_key as row_key,
    'cost_amount' as amount_name
from {{ rows_to_test(ref('usage_events')) }}
where (cost_amount is null) != (cost_currency is null)
union all
select
    'usage_daily' as table_name,
    usage_daily_key as row_key,
    'cost_amount' as amount_name
from {{ rows_to_test(ref('usage_daily')) }}
where (cost_amount is null) != (cost_currency is null)
union all
select
    'subscriptions' as table_name,
    subscription_key as row_key,
    'amount' as amount_name
from {{ ref('subscriptions') }}
where coalesce(amount, static_amount) is not null and currency is null
union all
select
    'metered_prices' as table_name,
    price_key as row_key,
    'unit_amount' as amount_name
from {{ ref('metered_prices') }}
where coalesce(unit_amount, cap_amount) is not null and currency is null
union all
{# Outcomes, by the price that their amounts are made of. #}
select
    'billing_outcomes' as table_name,
    usage_event_key as row_key,
    'list_amount' as amount_name
from {{ rows_to_test(ref('int_metered_events_routed')) }}
where coalesce(list_unit_amount, reference_unit_amount) is not null and currency is null
union all
select
    'meter_usage' as table_name,
    meter_usage_key as row_key,
    'expected_amount' as amount_name
from {{ ref('meter_usage') }}
where expected_amount is not null and currency is null
