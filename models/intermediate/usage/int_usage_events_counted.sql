{{ config(
    materialized='incremental', touched_by='int_usage_events_touched'
) }}

{#
    Submitted and recorded copies of one usage, counted once: a recorded event with an external id is the copy of that
    submission; where recorded usage of the organization covers the time, other submissions were never recorded or are
    copies that cannot be told apart, and only recorded events count; elsewhere submissions count.

    All events are here, with the decision: what does not count is what delivery_reconciliation asks about. Touched events
    come with their copies, so that pairs are found among them. Whose each is, counted or not, is known by the Polar id it
    carries, else by who held its external id when it was received.
#}

with

first_reads as (

    select
        load_id,
        file_number,
        record_number,
        usage_event_key,
        organization_id,
        event_uuid,
        other_event_id,
        external_id,
        shape,
        event_name,
        customer_id,
        external_customer_id,
        member_id,
        external_member_id,
        parent_reference,
        sent_at,
        ingested_at,
        landed_at
    from {{ ref('stg_polar__usage_events') }}{{ touched_only('int_usage_events_touched') }}

),

{# Whatever any read of an event knew is known; the largest does not depend on landing order. #}
rereads as (

    select
        usage_event_key,
        max(parent_reference) as parent_reference,
        max(external_id) as external_id,
        max(ingested_at) as ingested_at
    from {{ ref('stg_polar__event_rereads') }}
    group by usage_event_key

),

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

{# Kept whole, a table that is named twice would be written and read whole; as it stands each reader takes its columns. #}
submissions as not materialized (

    select * from usage_events
    where shape = 'submitted'

),

recorded_events as not materialized (

    select * from usage_events
    where shape = 'recorded'

),

{# An export that repeats an external id does not make two copies of one submission: the second is extra. #}
recorded_copies as (

    select
        organization_id,
        external_id,
        min(usage_event_key) as first_event_key
    from recorded_events
    semi join submissions
        on
            recorded_events.organization_id = submissions.organization_id
            and recorded_events.external_id = submissions.external_id
    group by organization_id, external_id

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

customers as (

    select * from {{ ref('int_customers_merged') }}

),

held_ids as (

    select * from {{ ref('int_external_ids_held') }}

),

judged_events as (

    select
        recorded_events.* replace (
            least(recorded_events.landed_at, submissions.landed_at) as landed_at
        ),
        true as is_counted,
        {# A pair counts once on either side, where Polar recorded it: there it is billed. #}
        submissions.usage_event_key is not null and recorded_events.usage_event_key = recorded_copies.first_event_key as is_submitted,
        true as is_recorded
    from recorded_events
    left join submissions
        on
            recorded_events.organization_id = submissions.organization_id
            and recorded_events.external_id = submissions.external_id
    left join recorded_copies
        on
            submissions.organization_id = recorded_copies.organization_id
            and submissions.external_id = recorded_copies.external_id
    union all
    select
        submissions.*,
        recorded_copies.external_id is null and not coalesce(
            submissions.occurred_at between organizations.recorded_usage_from_at and organizations.recorded_usage_to_at,
            false
        ) as is_counted,
        true as is_submitted,
        recorded_copies.external_id is not null as is_recorded
    from submissions
    inner join organizations on submissions.organization_id = organizations.organization_id
    left join recorded_copies
        on
            submissions.organization_id = recorded_copies.organization_id
            and submissions.external_id = recorded_copies.external_id
),

received_events as (

    select
        judged_events.* exclude (sent_at, ingested_at),
        greatest(
            coalesce(
                judged_events.ingested_at,
                case when late_landings.usage_event_key is not null then judged_events.landed_at end,
                judged_events.occurred_at
            ),
            judged_events.occurred_at
        ) as received_at,
        case
            when judged_events.ingested_at is not null then 'source'
            when late_landings.usage_event_key is not null then 'landed'
            else 'occurred'
        end as received_at_basis
    from judged_events
    left join late_landings on judged_events.usage_event_key = late_landings.usage_event_key

)

select
    received_events.* exclude (shape),
    received_events.external_id is null and received_events.shape = 'recorded' as is_anonymous,
    {{ joined_customer_key('received_events') }} as customer_key,
    case
        when customers.customer_key is not null then 'customer_id'
        when held_ids.customer_key is not null then 'external_customer_id'
        else 'unknown_customer'
    end as attribution
from received_events
{{ join_customers('received_events') }}
