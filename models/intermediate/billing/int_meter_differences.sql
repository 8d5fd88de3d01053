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
    One row per usage event and meter that Polar's two filter evaluators judge differently: few, for they agree where a
    property has the type that the filter compares it with.
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

judgements as (

    select
        signatures.organization_id,
        signatures.signature_hash,
        meters.meter_id,
        meters.archived_at,
        meters.past_archivings,
        meter_filter_matches(meters.filter, signatures.signature) as is_billed,
        meter_filter_matches_in_sql(meters.filter, signatures.signature) as is_in_balance
    from signatures
    inner join meters on signatures.organization_id = meters.organization_id

),

differences as (

    select * from judgements
    where is_billed != is_in_balance

),

differing_events as (

    select
        event_signatures.load_id,
        event_signatures.file_number,
        event_signatures.record_number,
        differences.*
    from event_signatures
    inner join differences
        on event_signatures.signature_hash = differences.signature_hash

)

select
    usage_events.load_id,
    usage_events.file_number,
    usage_events.record_number,
    usage_events.usage_event_key,
    usage_events.organization_id,
    differing_events.meter_id,
    differing_events.is_billed
from (
    select * from {{ ref('int_usage_events_attributed') }}{{ touched_only('int_metering_touched') }}
) as usage_events
inner join differing_events
    on
        usage_events.load_id = differing_events.load_id
        and usage_events.file_number = differing_events.file_number
        and usage_events.record_number = differing_events.record_number
where {{ takes_events('differing_events', 'usage_events.received_at') }}
