{{ config(
    materialized='incremental',
    touched_by='int_usage_events_touched', touched_on=['load_id']
) }}

{# One row per load, customer and pair of member ids that stand together in its events: few, however many the events. #}

select distinct
    load_id,
    organization_id,
    customer_key,
    external_member_id,
    member_id
from {{ ref('int_usage_events_counted') }}{{ touched_only('int_usage_events_touched', ['load_id']) }}
where is_counted and member_id is not null and external_member_id is not null
