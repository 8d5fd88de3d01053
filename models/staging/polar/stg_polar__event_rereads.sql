{#
    What later reads of a usage event bring that its first read lacked: a parent that Polar linked since, and the receipt
    time and external id that only exports have. Which read came first depends on landing order, the largest does not.
#}

with

rereads as (

    select * from {{ source('raw', 'event_rereads') }}
    where source = 'user'

),

parsed_rereads as (

    select
        record_key,
        from_json(payload, '{"parent_id": "VARCHAR", "external_id": "VARCHAR", "ingested_at": "VARCHAR"}') as event
    from rereads

)

select
    cast(record_key as varchar) as usage_event_key,
    max(event.parent_id) as parent_reference,
    max(event.external_id) as external_id,
    max({{ utc('event.ingested_at') }}) as ingested_at
from parsed_rereads
group by record_key
