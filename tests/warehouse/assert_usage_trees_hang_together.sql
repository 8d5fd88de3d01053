{#
    Who names no parent is its own root at depth 0; children share the root of their parent and lie one level below it;
    roots are there and name no parent; and only orphans have no root. A broken tree would put the cost of a run under
    another customer's or under none. Changed children are enough: an event that moves to another root, or finds one,
    takes its children with it, and they change. Parents and roots are looked up by their place, which leaves the others
    unread.
#}
{% set place = ['load_id', 'file_number', 'record_number'] %}

with

children as (

    select * from {{ rows_to_test(ref('int_usage_events_attributed')) }}
    where names_parent

),

named_places as (

    select parent_load_id as load_id, parent_file_number as file_number, parent_record_number as record_number from children
    where parent_event_key is not null
    union
    select root_load_id as load_id, root_file_number as file_number, root_record_number as record_number from children
    where root_event_key is not null

),

named_events as (

    select
        named_events.load_id,
        named_events.file_number,
        named_events.record_number,
        named_events.organization_id,
        named_events.usage_event_key,
        named_events.names_parent,
        case when named_events.names_parent then named_events.root_event_key else named_events.usage_event_key end as root_event_key,
        case when named_events.names_parent then named_events.depth else 0 end as depth
    from {{ rows_with_keys(ref('int_usage_events_attributed'), place, 'named_places') }} as named_events
    semi join named_places
        on
            named_events.load_id = named_places.load_id
            and named_events.file_number = named_places.file_number
            and named_events.record_number = named_places.record_number

)

select
    children.usage_event_key,
    children.organization_id,
    children.parent_event_key,
    children.root_event_key,
    children.depth,
    parents.root_event_key as root_of_parent,
    parents.depth as depth_of_parent
from children
left join named_events as parents
    on
        children.parent_load_id = parents.load_id
        and children.parent_file_number = parents.file_number
        and children.parent_record_number = parents.record_number
left join named_events as roots
    on
        children.root_load_id = roots.load_id
        and children.root_file_number = roots.file_number
        and children.root_record_number = roots.record_number
where
    (children.root_event_key is null) != (children.depth is null)
    or children.parent_event_key is distinct from parents.usage_event_key
    or children.root_event_key is distinct from case when not roots.names_parent then roots.usage_event_key end
    or children.organization_id != parents.organization_id
    or children.organization_id != roots.organization_id
    or (children.depth is not null and children.depth is distinct from parents.depth + 1)
    or (children.depth is not null and children.root_event_key is distinct from parents.root_event_key)
    {# A hundred levels down a child still has a root, and none below it. #}
    or (children.depth is null and parents.depth < 100)
union all
select
    usage_event_key,
    organization_id,
    parent_event_key,
    root_event_key,
    depth,
    null as root_of_parent,
    null as depth_of_parent
from {{ rows_to_test(ref('usage_events')) }}
where
    is_orphan != (root_event_key is null)
    or is_orphan != (depth is null)
    or (depth = 0) != coalesce(root_event_key = usage_event_key, false)
    or (parent_event_key is null and depth > 0)
