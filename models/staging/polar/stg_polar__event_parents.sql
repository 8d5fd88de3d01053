{#
    Parents that a later read of an event resolved: the first read may have come before Polar linked it.
#}

with

rereads as (

    select * from {{ source('raw', 'event_rereads') }}
    where source = 'user'

),

parents as (

    select
        cast(record_key as varchar) as usage_event_key,
        max(from_json(payload, '{"parent_id": "VARCHAR"}').parent_id) as parent_reference
    from rereads
    group by record_key

)

select * from parents
where parent_reference is not null
