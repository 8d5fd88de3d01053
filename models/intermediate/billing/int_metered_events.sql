{#
    Joined in the order in which it is written: DuckDB takes the matches, whose number it cannot know, for so few that it
    would rather pair each of them with every event. Two million events and twenty meters spilled 20 GB.
#}
{{ config(
    materialized='incremental', touched_by='int_metering_touched',
    pre_hook="set disabled_optimizers = 'join_order'",
    post_hook="reset disabled_optimizers"
) }}

{#
    One row per usage event and meter whose filter it passes, with what it counts for, and one without a meter of an event
    that passes none. These are facts of the event and the meter's definition; nothing here changes when a period closes.
#}

with

meters as (

    select * from {{ ref('int_meters_known') }}

),

{# Sixteen bytes of each signature: kept whole beside every event they would fill the memory. #}
event_signatures as not materialized (

    select * from {{ ref('int_event_signatures') }}

),

signatures as (

    select
        signature_hash,
        any_value(organization_id) as organization_id,
        any_value(signature) as signature
    from event_signatures
    group by signature_hash

),

matches as (

    select
        signatures.organization_id,
        signatures.signature_hash,
        meters.meter_id,
        meters.aggregation_function,
        meters.aggregation_path,
        {{ json_location('meters.aggregation_path') }} as aggregation_location,
        meters.archived_at,
        meters.past_archivings
    from signatures
    inner join meters on signatures.organization_id = meters.organization_id
    where meter_filter_matches(meters.filter, signatures.signature)

),

usage_events as (

    select * from {{ ref('int_usage_events_attributed') }}{{ touched_only('int_metering_touched') }}
    {# The join with signatures would else be what its rows are filtered by, and read all of them. #}
    where {{ within_span('int_metering_touched', 'load_id', 'load_id', 'load_id') }}

),

matched_events as (

    select
        usage_events.load_id,
        usage_events.file_number,
        usage_events.record_number,
        usage_events.usage_event_key,
        usage_events.organization_id,
        usage_events.customer_key,
        usage_events.member_key,
        usage_events.occurred_at,
        usage_events.received_at,
        matches.meter_id,
        matches.aggregation_function,
        case
            when matches.aggregation_function = 'count' then to_json(1)
            when matches.aggregation_path in ('name', 'source') and matches.aggregation_function != 'unique' then null
            when matches.aggregation_path = 'timestamp' and matches.aggregation_function != 'unique'
                then to_json(epoch(usage_events.occurred_at))
            when matches.aggregation_location = '/_cost/amount' then to_json(cast(cast(usage_events.cost_amount as varchar) as json))
            else json_extract(usage_events.metadata, matches.aggregation_location)
        end as value,
        usage_events.exact_numbers is not null
        and matches.aggregation_function != 'count'
        and matches.aggregation_location != '/_cost/amount'
        and matches.aggregation_path != 'timestamp' as has_long_numbers,
        {{ exact_number('usage_events.exact_numbers', "'/' || replace(replace(replace(matches.aggregation_path, '~', '~0'), '/', '~1'), '.', '/')") }} as exact_units
    from usage_events
    inner join event_signatures
        on
            usage_events.load_id = event_signatures.load_id
            and usage_events.file_number = event_signatures.file_number
            and usage_events.record_number = event_signatures.record_number
    left join matches
        on
            event_signatures.signature_hash = matches.signature_hash
            and {{ takes_events('matches', 'usage_events.received_at') }}

),

{# The types of whole numbers end so, and no other: of a list of names DuckDB would make a join of all rows. #}
typed_events as (

    select
        *,
        json_type(value) = 'DOUBLE' or json_type(value) like '%INT' as is_number
    from matched_events

),

measured_events as (

    select
        * exclude (value, is_number, has_long_numbers, exact_units),
        {# A few numbers from 10^18 on would overflow the decimal sum of all others. Beyond, units are a double. #}
        case
            when not is_number or not abs(cast(cast(value as varchar) as double)) < 1e18 then null
            when has_long_numbers then exact_units
            else try_cast(cast(value as varchar) as decimal(38, 12))
        end as units,
        case when is_number then cast(cast(value as varchar) as double) end as units_as_double,
        {# Numbers compare by value: 1 and 1.0 are one. Whole ones are written as such, beyond a double's 53 bits too. #}
        case
            when aggregation_function != 'unique' or json_type(value) = 'NULL' then null
            when json_type(value) = 'DOUBLE'
                then coalesce(
                    case
                        when cast(cast(value as varchar) as double) = trunc(cast(cast(value as varchar) as double))
                            then cast(try_cast(cast(cast(value as varchar) as double) as hugeint) as varchar)
                    end,
                    cast(cast(cast(value as varchar) as double) as varchar)
                )
            else cast(value as varchar)
        end as unique_value
    from typed_events

)

select
    *,
    case aggregation_function
        {# A distinct value may be missing: the event is billed with nothing to count. #}
        when 'count' then true
        when 'unique' then true
        {# Nor does anything count where there is no meter. #}
        else units_as_double is not null
    end as is_countable
from measured_events
