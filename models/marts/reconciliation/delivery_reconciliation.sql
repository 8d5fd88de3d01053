{#
    What was sent against what Polar recorded, where both are landed: within the time that an organization's submissions
    and its recorded usage both cover. A recorded event with an external id is the copy of that submission, whatever day
    or customer either names. One without can be any submission's copy: only counts tell how many are missing.
#}

with

first_reads as (

    select * from {{ ref('stg_polar__usage_events') }}

),

rereads as (

    select * from {{ ref('stg_polar__event_rereads') }}

),

organizations as (

    select * from {{ ref('int_organizations_covered') }}

),

customers as (

    select * from {{ ref('int_customers_merged') }}

),

held_ids as (

    select * from {{ ref('int_external_ids_held') }}

),

usage_events as (

    select
        first_reads.usage_event_key,
        first_reads.organization_id,
        first_reads.shape,
        first_reads.event_name,
        first_reads.customer_id,
        first_reads.external_customer_id,
        greatest(first_reads.external_id, rereads.external_id) as external_id,
        coalesce(first_reads.sent_at, first_reads.landed_at) as occurred_at,
        greatest(
            coalesce(first_reads.sent_at, first_reads.landed_at), first_reads.ingested_at, rereads.ingested_at
        ) as received_at
    from first_reads
    left join rereads on first_reads.usage_event_key = rereads.usage_event_key

),

submission_spans as (

    select
        organization_id,
        min(occurred_at) as first_at,
        max(occurred_at) as last_at
    from usage_events
    where shape = 'submitted'
    group by organization_id

),

{# An export that repeats an external id does not make two copies of one submission: the second is extra. #}
recorded_events as (

    select
        *,
        external_id is null as is_anonymous,
        row_number() over (partition by organization_id, external_id order by usage_event_key) = 1 as is_first_of_its_id
    from usage_events
    where shape = 'recorded'

),

{# A pair counts once on either side, where Polar recorded it: there it is billed. #}
deliveries as (

    select
        recorded_events.* exclude (is_anonymous, is_first_of_its_id),
        submissions.usage_event_key is not null as is_submitted,
        true as is_recorded,
        recorded_events.is_anonymous
    from recorded_events
    left join usage_events as submissions
        on
            submissions.shape = 'submitted'
            and recorded_events.organization_id = submissions.organization_id
            and recorded_events.external_id = submissions.external_id
            and recorded_events.is_first_of_its_id
    union all
    select
        submissions.*,
        true as is_submitted,
        false as is_recorded,
        false as is_anonymous
    from usage_events as submissions
    anti join recorded_events
        on
            submissions.organization_id = recorded_events.organization_id
            and submissions.external_id = recorded_events.external_id
    where submissions.shape = 'submitted'

),

covered_deliveries as (

    select
        deliveries.*,
        {{ joined_customer_key('deliveries') }} as customer_key
    from deliveries
    inner join organizations on deliveries.organization_id = organizations.organization_id
    inner join submission_spans on deliveries.organization_id = submission_spans.organization_id
    {{ join_customers('deliveries') }}
    where
        deliveries.occurred_at between submission_spans.first_at and submission_spans.last_at
        and deliveries.occurred_at between organizations.recorded_usage_from_at and organizations.recorded_usage_to_at

),

counts as (

    select
        organization_id,
        customer_key,
        event_name,
        cast(occurred_at as date) as usage_date,
        count(*) filter (where is_submitted) as submitted_count,
        count(*) filter (where is_recorded) as recorded_count,
        count(*) filter (where is_submitted and not is_recorded) as unpaired_count,
        count(*) filter (where is_anonymous) as anonymous_count,
        count(*) filter (where is_recorded and not is_submitted and not is_anonymous) as unknown_count
    from covered_deliveries
    group by organization_id, customer_key, event_name, cast(occurred_at as date)

)

select
    {{ surrogate_key(["'delivery'", 'organization_id', 'customer_key', 'event_name', 'usage_date']) }} as delivery_reconciliation_key,
    organization_id,
    customer_key,
    event_name,
    usage_date,
    submitted_count,
    recorded_count,
    greatest(unpaired_count - anonymous_count, 0) as missing_count,
    greatest(anonymous_count - unpaired_count, 0) + unknown_count as extra_count
from counts
