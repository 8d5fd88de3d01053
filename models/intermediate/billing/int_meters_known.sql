{# One row per meter: landed ones, and those of the seed that Polar's own definitions do not cover. #}

with

landed_meters as (

    select * from {{ ref('stg_polar__meters') }}

),

seeded_meters as (

    select
        seeds.organization_id,
        {{ polar_id('seeds.meter_id') }} as meter_id,
        seeds.meter_name,
        seeds.aggregation_function,
        seeds.aggregation_property,
        seeds.filter,
        cast(null as timestamp) as created_at,
        cast(null as timestamp) as archived_at,
        null as past_archivings
    from {{ ref('meters') }} as seeds
    anti join landed_meters
        on
            seeds.organization_id = landed_meters.organization_id
            and {{ polar_id('seeds.meter_id') }} = landed_meters.meter_id

),

meters as (

    select
        organization_id,
        meter_id,
        meter_name,
        aggregation_function,
        aggregation_property,
        filter,
        created_at,
        archived_at,
        past_archivings
    from landed_meters
    union all
    select * from seeded_meters

)

select
    {{ surrogate_key(["'meter'", 'organization_id', 'meter_id']) }} as meter_key,
    *,
    {# One leading `metadata.` is not part of the path. #}
    regexp_replace(aggregation_property, '^metadata\.', '') as aggregation_path,
    aggregation_function in ('sum', 'count') as is_summable
from meters
