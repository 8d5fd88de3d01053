{#
    Every event that names a parent hangs on a root. Polar hides orphans from its lists and metrics until the root arrives,
    and still bills them. A finding about the data.
#}

{{ config(severity='warn') }}

select
    usage_event_key,
    organization_id,
    event_name,
    occurred_at,
    parent_event_key
from {{ ref('usage_events') }}
where is_orphan
