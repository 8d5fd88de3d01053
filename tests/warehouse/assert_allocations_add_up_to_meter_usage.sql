{#
    The members' shares of a row of meter_usage are its amount, to the minor unit, and their units are its units, but for
    what adding doubles in another order may change: of 10^26, -10^26 and 5 the sum is 5 or 0. A row with usage and no shares would be money of nobody.
#}

with

meter_usage as (

    select * from {{ ref('meter_usage') }}
    semi join {{ ref('int_meters_known') }} as meters
        on
            meter_usage.organization_id = meters.organization_id
            and meter_usage.meter_id = meters.meter_id
            and meters.is_summable
    where event_count > 0

),

allocations as (

    select
        meter_usage_key,
        sum(expected_amount) as expected_amount,
        sum(units) as units,
        sum(abs(units)) as units_either_way
    from {{ ref('member_allocations') }}
    group by meter_usage_key

)

select
    coalesce(meter_usage.meter_usage_key, allocations.meter_usage_key) as meter_usage_key,
    meter_usage.organization_id,
    meter_usage.expected_amount,
    allocations.expected_amount as allocated_amount,
    meter_usage.consumed_units,
    allocations.units as allocated_units
from meter_usage
full outer join allocations on meter_usage.meter_usage_key = allocations.meter_usage_key
where
    meter_usage.meter_usage_key is null
    or allocations.meter_usage_key is null
    or meter_usage.expected_amount is distinct from allocations.expected_amount
    {# What is beyond doubles is equal to itself and has no difference. #}
    or (
        meter_usage.consumed_units != allocations.units
        and abs(meter_usage.consumed_units - allocations.units) > 1e-9 * greatest(1, allocations.units_either_way)
    )
