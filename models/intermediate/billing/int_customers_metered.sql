{{ config(
    materialized='incremental',
    touched_by='int_metering_touched', touched_on=['load_id']
) }}

{# One row per load, customer and meter with usage: who is to be routed, without reading the events. #}

select distinct
    load_id,
    organization_id,
    customer_key,
    meter_id
from {{ ref('int_metered_events') }}{{ touched_only('int_metering_touched', ['load_id']) }}
where meter_id is not null
