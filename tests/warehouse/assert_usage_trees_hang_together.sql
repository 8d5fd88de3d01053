{#
    Roots are their own root at depth 0, children share the root of their parent and lie one level below it, and only
    orphans have no root. A broken tree would put the cost of a run under another customer's or under none. Changed children
    are enough: an event that moves to another root, or finds one, takes its children with it, and they change.
#}

with

children as (

    select * from {{ rows_to_test(ref('usage_events')) }}

),

named_parents as (

    select distinct parent_event_key as usage_event_key from children
    where parent_event_key is not null

),

parents as (

    select * from {{ rows_with_keys(ref('usage_events'), 'usage_event_key', 'named_parents') }}

)

select
    children.usage_event_key,
    children.organization_id,
    children.parent_event_key,
    children.root_event_key,
    children.depth,
    children.is_orphan,
    parents.root_event_key as root_of_parent,
    parents.depth as depth_of_parent
from children
left join parents on children.parent_event_key = parents.usage_event_key
where
    (children.root_event_key is null) != children.is_orphan
    or (children.depth is null) != children.is_orphan
    or ((children.depth = 0) and children.root_event_key != children.usage_event_key)
    or ((children.depth > 0) and children.root_event_key is distinct from parents.root_event_key)
    or ((children.depth > 0) and children.depth is distinct from parents.depth + 1)
