{#
    Submitted and recorded copies of one usage, counted once: a recorded event with an external id is the copy of that
    submission; where recorded usage of the organization covers the time, other submissions were never recorded or are
    copies that cannot be told apart, and only recorded events count; elsewhere submissions count.
#}

with

first_reads as (

    select * from {{ ref('stg_polar__usage_events') }}

),

rereads as (

    select * from {{ ref('stg_polar__event_rereads') }}

),

{# Whatever any read of an event knew is known; greatest() skips nulls and does not depend on landing order. #}
usage_events as (

    select
        first_reads.* replace (
            greatest(first_reads.external_id, rereads.external_id) as external_id,
            greatest(first_reads.parent_reference, rereads.parent_reference) as parent_reference,
            greatest(first_reads.ingested_at, rereads.ingested_at) as ingested_at
        ),
        coalesce(first_reads.sent_at, first_reads.landed_at) as occurred_at
    from first_reads
    left join rereads on first_reads.usage_event_key = rereads.usage_event_key

),

organizations as (

    select * from {{ ref('int_organizations_covered') }}

),

syncs as (

    select * from {{ ref('stg_polar__syncs') }}

),

submissions as (

    select * from usage_events
    where shape = 'submitted'

),

recorded_events as (

    select * from usage_events
    where shape = 'recorded'

),

recorded_copies as (

    select distinct
        organization_id,
        external_id
    from recorded_events
    where external_id is not null

),

{# An event that a finished sync of its time did not return was received after it, at the latest when it landed. #}
late_landings as (

    select distinct recorded_events.usage_event_key
    from recorded_events
    inner join syncs
        on
            recorded_events.organization_id = syncs.organization_id
            and syncs.load_id < recorded_events.load_id
            and syncs.covered_from_at <= recorded_events.occurred_at
            and recorded_events.occurred_at < syncs.covered_to_at
    where recorded_events.ingested_at is null

),

counted_events as (

    select
        recorded_events.* replace (
            least(recorded_events.landed_at, submissions.landed_at) as landed_at
        )
    from recorded_events
    left join submissions
        on
            recorded_events.organization_id = submissions.organization_id
            and recorded_events.external_id = submissions.external_id
    union all
    select submissions.*
    from submissions
    anti join recorded_copies
        on
            submissions.organization_id = recorded_copies.organization_id
            and submissions.external_id = recorded_copies.external_id
    inner join organizations on submissions.organization_id = organizations.organization_id
    where not coalesce(
        submissions.occurred_at between organizations.recorded_usage_from_at and organizations.recorded_usage_to_at,
        false
    )

),

clocked_events as (

    select
        counted_events.* exclude (sent_at, ingested_at),
        greatest(
            coalesce(
                counted_events.ingested_at,
                case when late_landings.usage_event_key is not null then counted_events.landed_at end,
                counted_events.occurred_at
            ),
            counted_events.occurred_at
        ) as received_at,
        case
            when counted_events.ingested_at is not null then 'source'
            when late_landings.usage_event_key is not null then 'landed'
            else 'occurred'
        end as received_at_basis
    from counted_events
    left join late_landings on counted_events.usage_event_key = late_landings.usage_event_key

)

select * from clocked_events
