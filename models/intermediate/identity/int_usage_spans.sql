{{ config(materialized='incremental') }}

{# One row per load, organization and shape: when its usage begins and ends. Read instead of the events. #}

select
    load_id,
    organization_id,
    shape,
    min(coalesce(sent_at, landed_at)) as first_at,
    max(coalesce(sent_at, landed_at)) as last_at,
    max(greatest(coalesce(sent_at, landed_at), ingested_at)) as last_received_at
from {{ ref('stg_polar__usage_events') }}
where true {{ only_new_loads() }}
group by load_id, organization_id, shape
