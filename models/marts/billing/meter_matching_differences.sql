with

meters as (

    select * from {{ ref('int_meters_known') }}

),

differences as (

    select
        organization_id,
        meter_id,
        count(*) filter (where is_billed) as python_only_count,
        count(*) filter (where not is_billed) as sql_only_count
    from {{ ref('int_meter_differences') }}
    group by organization_id, meter_id

)

select
    meters.meter_key,
    meters.organization_id,
    meters.meter_id,
    coalesce(differences.python_only_count, 0) + coalesce(differences.sql_only_count, 0) as event_count,
    coalesce(differences.python_only_count, 0) as python_only_count,
    coalesce(differences.sql_only_count, 0) as sql_only_count
from meters
left join differences
    on
        meters.organization_id = differences.organization_id
        and meters.meter_id = differences.meter_id
