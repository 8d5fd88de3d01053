{{ config(
    materialized='incremental', touched_by='int_metering_touched'
) }}

{#
    One row per usage event and meter that Polar's two filter evaluators judge differently: few, for they agree where a
    property has the type that the filter compares it with.
#}

with

meters as (

    select * from {{ ref('int_meters_known') }}

),

event_signatures as (

    select * from {{ ref('int_event_signatures') }}

),

signatures as (

    select distinct
        organization_id,
        signature
    from event_signatures

),

judgements as (

    select
        signatures.organization_id,
        signatures.signature,
        meters.meter_id,
        meters.archived_at,
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
        event_signatures.usage_event_key,
        differences.*
    from event_signatures
    inner join differences
        on
            event_signatures.organization_id = differences.organization_id
            and event_signatures.signature = differences.signature

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
inner join differing_events on usage_events.usage_event_key = differing_events.usage_event_key
where usage_events.received_at < coalesce(differing_events.archived_at, timestamp 'infinity')
