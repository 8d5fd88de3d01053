{#
    Per period and meter, meter_usage counts exactly the events that nothing speaks against, which are billed,
    awaiting_order or open, and for sum and count meters their units. Any other outcome must leave no trace in an amount:
    it would charge what Polar skips.
    Units are doubles; they may differ by the last bits of a sum.
    Periods that no changed outcome names are as they were; what left a period and is still counted in it shows in the
    totals (assert_outcomes_add_up_to_meter_usage).
#}

{% set outcomes = ref('billing_outcomes') %}
{% set is_partial = changes_to_test(outcomes) is not none %}

-- depends_on: {{ ref('billing_periods') }}

with

meters as (

    select * from {{ ref('all_meters') }}

),

changed_periods as (

    select distinct billing_period_key from {{ rows_to_test(outcomes) }}
    where billing_period_key is not null

),

routed_events as (

    select
        routed_events.billing_period_key,
        routed_events.meter_id,
        routed_events.organization_id,
        routed_events.reason,
        coalesce(cast(routed_events.units as double), routed_events.units_as_double) as units
    from {{ ref('int_metered_events_routed') }} as routed_events
    semi join changed_periods on routed_events.billing_period_key = changed_periods.billing_period_key
    {% if is_partial -%}
        {#- What a period charges was received in it (assert_billed_usage_lies_in_its_period): the others stay unread. -#}
        {%- set span -%}
            from {{ ref('billing_periods') }} semi join {{ rows_to_test(outcomes) }} as changed using (billing_period_key)
        {%- endset %}
        where
            routed_events.received_at between {{ value_of('select min(period_start_at) ' ~ span) }}
            and {{ value_of('select max(period_end_at) ' ~ span) }}
    {%- endif %}

),

charged_events as (

    select
        billing_period_key,
        meter_id,
        organization_id,
        count(*) as event_count,
        sum(cast(units as decimal(38, 12))) as units
    from routed_events
    where
        reason is null
        and abs(coalesce(units, 0)) < 1e15
    group by billing_period_key, meter_id, organization_id

),

uncountable_meters as (

    select distinct
        billing_period_key,
        meter_id
    from routed_events
    where abs(units) >= 1e15

),

{# A period without any outcome is named by no changed one: its usage must be nothing. #}
metered_usage as (

    select
        metered_periods.billing_period_key,
        metered_periods.meter_id,
        metered_periods.organization_id,
        sum(metered_periods.event_count) as event_count,
        sum(metered_periods.consumed_units) as units
    from {{ ref('meter_usage') }} as metered_periods
    {% if is_partial -%}
        semi join changed_periods on metered_periods.billing_period_key = changed_periods.billing_period_key
    {%- endif %}
    group by metered_periods.billing_period_key, metered_periods.meter_id, metered_periods.organization_id

)

select
    coalesce(charged_events.billing_period_key, metered_usage.billing_period_key) as billing_period_key,
    coalesce(charged_events.meter_id, metered_usage.meter_id) as meter_id,
    coalesce(charged_events.organization_id, metered_usage.organization_id) as organization_id,
    charged_events.event_count as charged_event_count,
    metered_usage.event_count as metered_event_count,
    charged_events.units as charged_units,
    metered_usage.units as metered_units
from charged_events
full outer join metered_usage
    on
        charged_events.billing_period_key = metered_usage.billing_period_key
        and charged_events.meter_id = metered_usage.meter_id
left join meters
    on
        coalesce(charged_events.organization_id, metered_usage.organization_id) = meters.organization_id
        and coalesce(charged_events.meter_id, metered_usage.meter_id) = meters.meter_id
anti join uncountable_meters
    on
        coalesce(charged_events.billing_period_key, metered_usage.billing_period_key) = uncountable_meters.billing_period_key
        and coalesce(charged_events.meter_id, metered_usage.meter_id) = uncountable_meters.meter_id
where
    coalesce(charged_events.event_count, 0) != coalesce(metered_usage.event_count, 0)
    or (
        meters.aggregation_function in ('sum', 'count')
        and abs(coalesce(cast(charged_events.units as double), 0) - coalesce(metered_usage.units, 0))
        > 1e-9 * greatest(1, abs(coalesce(metered_usage.units, 0)))
    )
