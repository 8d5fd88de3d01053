{#
    A column's name tells its type: instants are TIMESTAMP without zone, amounts exact, units DOUBLE, keys UUIDs. A
    TIMESTAMPTZ moves with the reader's time zone, and money in a DOUBLE loses cents. The columns of wide relations are
    the merchant's: a number called `retry_count` stays DECIMAL there, but no text is called `sent_at`.
    It comes after all of them: a mart that is still to be built anew may have the types of an older version.
#}

-- depends_on: {{ ref('all_meters') }}
-- depends_on: {{ ref('billing_outcomes') }}
-- depends_on: {{ ref('billing_periods') }}
-- depends_on: {{ ref('conflicting_records') }}
-- depends_on: {{ ref('credit_ledger') }}
-- depends_on: {{ ref('customer_margins') }}
-- depends_on: {{ ref('customers') }}
-- depends_on: {{ ref('delivery_reconciliation') }}
-- depends_on: {{ ref('event_trace_costs') }}
-- depends_on: {{ ref('event_traces') }}
-- depends_on: {{ ref('late_usage') }}
-- depends_on: {{ ref('loads') }}
-- depends_on: {{ ref('member_allocations') }}
-- depends_on: {{ ref('members') }}
-- depends_on: {{ ref('metadata_columns') }}
-- depends_on: {{ ref('metadata_properties') }}
-- depends_on: {{ ref('meter_matching_differences') }}
-- depends_on: {{ ref('meter_reconciliation') }}
-- depends_on: {{ ref('meter_usage') }}
-- depends_on: {{ ref('metered_prices') }}
-- depends_on: {{ ref('mrr_movements') }}
-- depends_on: {{ ref('net_revenue_bridge') }}
-- depends_on: {{ ref('order_lines') }}
-- depends_on: {{ ref('order_reconciliation') }}
-- depends_on: {{ ref('orders') }}
-- depends_on: {{ ref('orders_settled') }}
-- depends_on: {{ ref('period_forecasts') }}
-- depends_on: {{ ref('period_restatements') }}
-- depends_on: {{ ref('products') }}
-- depends_on: {{ ref('quarantined_records') }}
-- depends_on: {{ ref('revenue_daily') }}
-- depends_on: {{ ref('revenue_leakage') }}
-- depends_on: {{ ref('revenue_metrics') }}
-- depends_on: {{ ref('subscriptions') }}
-- depends_on: {{ ref('unbilled_usage') }}
-- depends_on: {{ ref('usage_costs') }}
-- depends_on: {{ ref('usage_daily') }}
-- depends_on: {{ ref('usage_events') }}

select
    table_name,
    column_name,
    data_type
from information_schema.columns
where
    table_schema = 'marts'
    and (
        data_type = 'TIMESTAMP WITH TIME ZONE'
        or (column_name like '%\_at' escape '\' and data_type != 'TIMESTAMP')
        or (regexp_matches(column_name, '_(date|month)$') and data_type != 'DATE')
        or (regexp_matches(column_name, '(^|_)amount$') and data_type not in ('BIGINT', 'DECIMAL(38,12)'))
        or (
            not starts_with(table_name, 'wide_')
            and (
                (column_name like '%\_key' escape '\' and data_type != 'UUID')
                or (column_name in ('cost_amount', 'unit_amount', 'list_amount', 'reference_amount') and data_type != 'DECIMAL(38,12)')
                or (regexp_matches(column_name, '(^|_)units$') and data_type != 'DOUBLE')
                or (regexp_matches(column_name, '_(id|currency)$') and column_name not like '%load\_id' escape '\' and data_type != 'VARCHAR')
                or (regexp_matches(column_name, '^(is|has)_') and data_type != 'BOOLEAN')
                or (column_name like '%\_count' escape '\' and data_type != 'BIGINT')
            )
        )
    )
