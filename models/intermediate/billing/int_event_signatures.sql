{#
    One row per usage event that this build measures, with the values that its organization's meters' filters read. Events
    that agree in these are judged once, by Polar's Python matcher; most organizations have a few hundred combinations.
#}

with

meters as (

    select * from {{ ref('int_meters_known') }}

),

filter_paths as (

    select distinct
        organization_id,
        unnest(meter_filter_properties(filter)) as path
    from meters

),

filter_reads as (

    select
        organization_id,
        list(cast(to_json(path) as varchar) || ':' order by path)
            filter (where path not in ('name', 'source', 'timestamp')) as labels,
        list({{ json_location('path') }} order by path) filter (where path not in ('name', 'source', 'timestamp')) as locations,
        bool_or(path = 'timestamp') as reads_timestamp
    from filter_paths
    group by organization_id

),

usage_events as (

    select * from {{ ref('int_usage_events_attributed') }}{{ touched_only('int_metering_touched') }}

),

{#
    JSON put together from JSON texts: made from a map by to_json it takes eight times as long.
    `_cost.amount` may be text in the payload and is a number to Polar: it is taken from the typed column.
#}
signed_events as (

    select
        usage_events.load_id,
        usage_events.file_number,
        usage_events.record_number,
        usage_events.organization_id,
        list_transform(
            list_zip(filter_reads.labels, filter_reads.locations),
            lambda read: ',' || read[1] || coalesce(
                case
                    when read[2] = '/_cost/amount' then to_json(cast(usage_events.cost_amount as double))
                    else json_extract(usage_events.metadata, read[2])
                end,
                'null'
            )
        ) as properties,
        '{"name":' || to_json(usage_events.event_name)
        || ',"source":"user","timestamp":'
        || coalesce(case when filter_reads.reads_timestamp then to_json(epoch(usage_events.occurred_at)) end, 'null')
            as fields
    from usage_events
    left join filter_reads on usage_events.organization_id = filter_reads.organization_id

),

signatures as (

    select
        load_id,
        file_number,
        record_number,
        organization_id,
        cast(fields || coalesce(array_to_string(properties, ''), '') || '}' as varchar) as signature
    from signed_events

)

select
    *,
    md5_number(concat_ws(chr(31), organization_id, signature)) as signature_hash
from signatures
