{#
    What was sent and is not missing is what was recorded and is not extra: a row that breaks this counted a pair on one
    side only. And no more is compared than was landed.
#}

with

deliveries as (

    select * from {{ ref('delivery_reconciliation') }}

),

landed as (

    select
        organization_id,
        count(*) filter (where shape = 'submitted') as submitted_count,
        count(*) filter (where shape = 'recorded') as recorded_count
    from {{ ref('stg_polar__usage_events') }}
    group by organization_id

),

compared as (

    select
        organization_id,
        sum(submitted_count) as submitted_count,
        sum(recorded_count) as recorded_count
    from deliveries
    group by organization_id

)

select
    'the sides differ' as problem,
    delivery_reconciliation_key as place
from deliveries
where submitted_count - missing_count != recorded_count - extra_count
union all
select
    'more than was landed' as problem,
    compared.organization_id as place
from compared
left join landed on compared.organization_id = landed.organization_id
where
    compared.submitted_count > coalesce(landed.submitted_count, 0)
    or compared.recorded_count > coalesce(landed.recorded_count, 0)
