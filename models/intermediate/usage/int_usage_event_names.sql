{{ config(
    materialized='incremental', touched_by='int_usage_events_touched'
) }}

{#
    One row per usage event and name that a child may call it by, as eight bytes: which loads a parent may lie in is found
    without reading the names. Names that share a hash only make a load be read in vain.
#}

with

{# Kept whole, a table that is named twice would be written and read whole; as it stands each reader takes its columns. #}
usage_events as not materialized (

    select * from {{ ref('int_usage_events_counted') }}{{ touched_only('int_usage_events_touched') }}
    where is_counted

)

select
    load_id,
    file_number,
    record_number,
    {{ name_hash('organization_id', event_id('usage_events')) }} as name_hash
from usage_events
where event_uuid is not null or other_event_id is not null
union all
select
    load_id,
    file_number,
    record_number,
    {{ name_hash('organization_id', 'external_id') }} as name_hash
from usage_events
where external_id is not null
