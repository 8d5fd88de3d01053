{{ config(materialized='incremental') }}

{#
    What later reads of a usage event bring that its first read lacked: a parent that Polar linked since, and the receipt
    time and external id that only exports have.
#}

with

rereads as (

    select * from {{ source('raw', 'event_rereads') }}
    where source = 'user' {{ only_new_loads() }}

),

parsed_rereads as (

    select
        *,
        from_json(payload, '{"parent_id": "VARCHAR", "external_id": "VARCHAR", "ingested_at": "VARCHAR"}') as event
    from rereads

)

select
    record_key as usage_event_key,
    organization_id,
    event.parent_id as parent_reference,
    event.external_id as external_id,
    {{ utc('event.ingested_at') }} as ingested_at,
    load_id,
    file_number,
    record_number
from parsed_rereads
