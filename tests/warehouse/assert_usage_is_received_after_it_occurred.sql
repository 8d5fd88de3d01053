{#
    received_at is never before occurred_at, and billed_at is the later of the two. Usage received in the past would be
    billed on an order that was already closed when it happened. Nothing but the row itself is looked at: those that
    changed are enough.
#}

select
    usage_event_key,
    organization_id,
    occurred_at,
    received_at,
    received_at_basis,
    billed_at,
    landed_at
from {{ rows_to_test(ref('usage_events')) }}
where
    received_at < occurred_at
    or billed_at != greatest(occurred_at, received_at)
