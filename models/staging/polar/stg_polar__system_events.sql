{% set rows_read = "source = 'system'" %}
{{ config(materialized='incremental', meta={'rows_read': {'events': rows_read}}) }}

{# Integers may have been stored as floats with a zero fraction: numbers are read as decimals and made whole below. #}
{% set whole_numbers = [
    'units', 'amount', 'net_amount', 'tax_amount', 'applied_balance_amount', 'discount_amount', 'platform_fee',
    'refunded_amount', 'fee', 'presentment_amount', 'refundable_amount', 'recurring_interval_count',
    'old_seats', 'new_seats', 'old_units', 'new_units', 'seats'
] %}
{% set texts = [
    'meter_id', 'subscription_id', 'order_id', 'billing_type', 'currency', 'presentment_currency',
    'recurring_interval', 'discount_id', 'proration_behavior', 'refund_id', 'transaction_id', 'dispute_id',
    'old_product_id', 'new_product_id', 'customer_external_id', 'customer_cancellation_reason'
] %}
{% set instants = {
    'started_at': 'started_at', 'canceled_at': 'canceled_at', 'ends_at': 'ends_at', 'paused_at': 'paused_at',
    'resumes_at': 'resumes_at', 'past_due_at': 'past_due_at', 'trial_end': 'trial_ends_at',
    'billing_period_end': 'billing_period_end_at', 'old_period_end': 'old_period_end_at',
    'new_period_end': 'new_period_end_at', 'order_created_at': 'order_created_at'
} %}
{% set structure -%}
{
    "id": "VARCHAR", "name": "VARCHAR", "timestamp": "VARCHAR", "ingested_at": "VARCHAR", "customer_id": "VARCHAR",
    "metadata": {
        "customer_id": "VARCHAR", "product_id": "VARCHAR", "rollover": "BOOLEAN", "exchange_rate": "DECIMAL(38,12)",
        {% for name in whole_numbers %}"{{ name }}": "DECIMAL(38,12)", {% endfor %}
        {% for name in texts %}"{{ name }}": "VARCHAR", {% endfor %}
        {% for name in instants %}"{{ name }}": "VARCHAR"{{ ", " if not loop.last }}{% endfor %}
    }
}
{%- endset %}

with

raw_events as (

    select * from {{ source('raw', 'events') }}

),

parsed_events as (

    select
        load_id,
        file_number,
        record_number,
        organization_id,
        record_key,
        landed_at,
        from_json(payload, '{{ structure | replace("\n", " ") }}') as event
    from raw_events
    where {{ rows_read }} {{ only_new_loads() }}

),

typed_events as (

    select
        cast(record_key as varchar) as system_event_key,
        organization_id,
        {{ polar_id('event.id') }} as event_id,
        event.name as event_name,
        {{ polar_id('coalesce(event.customer_id, event.metadata.customer_id)') }} as customer_id,
        {# Orders without a product carry the text None. #}
        {{ polar_id("nullif(event.metadata.product_id, 'None')") }} as product_id,
        {%- for name in texts %}
        {%- if name.endswith('_id') and name != 'customer_external_id' %}
        {{ polar_id('event.metadata.' ~ name) }} as {{ name }},
        {%- elif name.endswith('currency') %}
        lower(event.metadata.{{ name }}) as {{ name }},
        {%- else %}
        event.metadata.{{ name }} as {{ name }},
        {%- endif %}
        {%- endfor %}
        {%- for name in whole_numbers %}
        {%- if name == 'recurring_interval_count' %}
        {{ interval_count('event.metadata.' ~ name) }} as {{ name }},
        {%- elif name == 'amount' %}
        {# A subscription costs nothing or more; refunds and disputes are below zero. #}
        case
            when event.name not like 'subscription.%' or event.metadata.amount >= 0
                then {{ whole_number('event.metadata.amount') }}
        end as amount,
        {%- else %}
        {{ whole_number('event.metadata.' ~ name, least=0 if name in ('discount_amount', 'refunded_amount') else none) }} as {{ name }},
        {%- endif %}
        {%- endfor %}
        event.metadata.exchange_rate as exchange_rate,
        event.metadata.rollover as is_rollover,
        {%- for name, column in instants.items() %}
        {{ utc('event.metadata.' ~ name) }} as {{ column }},
        {%- endfor %}
        {{ utc('event.timestamp') }} as occurred_at,
        greatest({{ utc('event.timestamp') }}, coalesce({{ utc('event.ingested_at') }}, {{ utc('event.timestamp') }})) as received_at,
        landed_at,
        load_id,
        file_number,
        record_number
    from parsed_events

)

select * from typed_events
