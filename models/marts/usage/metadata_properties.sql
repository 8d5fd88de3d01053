{#
    The registry of what events carry. Structures are walked, not events: an organization has few of them, and each holds
    the keys and types of all events that share it.
#}
{% set window = "to_days(" ~ (var('metadata_drift_days') | int) ~ ")" %}

with recursive

structures as (

    select * from {{ ref('int_metadata_structures') }}

),

organizations as (

    select * from {{ ref('int_organizations_covered') }}

),

shapes as (

    select
        row_number() over (order by organization_id, event_name, metadata_structure) as shape_number,
        organization_id,
        event_name,
        cast(metadata_structure as json) as structure,
        cast(sum(event_count) as bigint) as event_count,
        min(first_at) as first_at,
        max(last_at) as last_at
    from structures
    group by organization_id, event_name, metadata_structure

),

event_names as (

    select
        organization_id,
        event_name,
        min(first_at) as first_at,
        max(last_at) as last_at
    from shapes
    group by organization_id, event_name

),

{# Of `_llm` only the values that Polar defines are published: see usage_events. #}
nodes as (

    select
        shapes.* exclude (structure),
        member.key as property_path,
        '/' || replace(replace(member.key, '~', '~0'), '/', '~1') as pointer,
        member.value as structure,
        member.type as node_type,
        false as is_item
    from shapes, json_each(shapes.structure) as member
    where json_type(shapes.structure) = 'OBJECT' and (member.key != '_llm' or member.type = 'OBJECT')
    union all
    select
        nodes.shape_number,
        nodes.organization_id,
        nodes.event_name,
        nodes.event_count,
        nodes.first_at,
        nodes.last_at,
        nodes.property_path || case when nodes.node_type = 'ARRAY' then '[]' else '.' || member.key end as property_path,
        nodes.pointer || '/' || case
            when nodes.node_type = 'ARRAY' then '-' else replace(replace(member.key, '~', '~0'), '/', '~1')
        end as pointer,
        member.value as structure,
        member.type as node_type,
        nodes.node_type = 'ARRAY' as is_item
    from nodes, json_each(nodes.structure) as member
    where
        nodes.node_type in ('OBJECT', 'ARRAY')
        and (
            nodes.pointer != '/_llm'
            or (member.type = 'VARCHAR' and member.key in ({{ "'" ~ llm_keys() | join("', '") ~ "'" }}))
        )

),

leaves as (

    select
        * exclude (structure, node_type, is_item),
        case
            when pointer = '/_cost/amount' then 'number'
            when json_extract_string(structure, '$') in ('UBIGINT', 'BIGINT', 'UHUGEINT', 'HUGEINT', 'DOUBLE') then 'number'
            when json_extract_string(structure, '$') = 'BOOLEAN' then 'boolean'
            when json_extract_string(structure, '$') = 'VARCHAR' then 'string'
            when is_item and json_extract_string(structure, '$') = 'JSON' then 'mixed'
        end as value_type
    from nodes
    where node_type = 'VARCHAR'

),

{# A key with a dot may read like two levels: an event that has both counts once, and the pointers tell them apart. #}
paths_of_shapes as (

    select
        shape_number,
        organization_id,
        event_name,
        property_path,
        event_count,
        first_at,
        last_at,
        list(distinct value_type) as value_types,
        list(distinct pointer) as pointers
    from leaves
    where value_type is not null
    group by shape_number, organization_id, event_name, property_path, event_count, first_at, last_at

),

properties as (

    select
        organization_id,
        event_name,
        property_path,
        list_sort(list_distinct(flatten(list(pointers)))) as pointers,
        list_sort(list_distinct(flatten(list(value_types)))) as value_types,
        min(first_at) as first_seen_at,
        max(last_at) as last_seen_at,
        cast(sum(event_count) as bigint) as event_count
    from paths_of_shapes
    group by organization_id, event_name, property_path

)

select
    {{ surrogate_key(["'metadata_property'", 'properties.organization_id', 'properties.event_name', 'properties.property_path']) }} as metadata_property_key,
    properties.organization_id,
    properties.event_name,
    properties.property_path,
    properties.pointers,
    properties.value_types,
    len(properties.value_types) > 1 or list_contains(properties.value_types, 'mixed') as has_type_conflict,
    properties.first_seen_at,
    properties.last_seen_at,
    properties.event_count,
    properties.first_seen_at > organizations.data_horizon_at - {{ window }}
    and event_names.first_at <= organizations.data_horizon_at - {{ window }} as is_new,
    properties.last_seen_at <= organizations.data_horizon_at - {{ window }}
    and event_names.last_at > organizations.data_horizon_at - {{ window }} as is_vanished
from properties
inner join organizations on properties.organization_id = organizations.organization_id
inner join event_names
    on
        properties.organization_id = event_names.organization_id
        and properties.event_name = event_names.event_name
