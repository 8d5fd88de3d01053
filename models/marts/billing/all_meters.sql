{{ config(alias='meters') }}

select
    meter_key,
    meter_id,
    organization_id,
    meter_name,
    aggregation_function,
    aggregation_property,
    filter,
    created_at,
    archived_at
from {{ ref('int_meters_known') }}
