{{ config(materialized='incremental', touched_by='int_usage_links_touched') }}

{#
    One row per event that names a parent. Links go by external id first, then by Polar id, inside the organization; a
    root reaches down at most 100 levels. Cycles and events that name themselves are never reached from a root, so they
    stay orphans.
#}

with recursive

{# Kept whole, a table that is named twice would be read whole; as it stands each reader takes its few rows. #}
usage_events as not materialized (

    select
        load_id,
        file_number,
        record_number,
        organization_id,
        struct_pack(load_id := load_id, file_number := file_number, record_number := record_number) as place,
        usage_event_key,
        external_id,
        {{ event_id('counted') }} as event_id,
        parent_reference
    from {{ ref('int_usage_events_counted') }} as counted
    where is_counted

),

children as (

    select * from usage_events{{ touched_only('int_usage_links_touched') }}
    where parent_reference is not null

),

named_parents as (

    select distinct
        organization_id,
        parent_reference,
        {{ polar_id('parent_reference') }} as parent_id
    from children

),

nameable_events as not materialized (

    select * from usage_events
    where {{ within_span('int_usage_links_touched', 'load_id', 'first_parent_load_id', 'last_parent_load_id') }}

),

{# Apart, so that each reads the few events that are named. #}
parents_by_external_id as (

    select
        named_parents.organization_id,
        named_parents.parent_reference,
        min(nameable_events.usage_event_key) as parent_event_key,
        {# Polar keeps external ids unique; an export that does not must not double the children. #}
        arg_min(nameable_events.parent_reference is null, nameable_events.usage_event_key) as is_root,
        arg_min(nameable_events.place, nameable_events.usage_event_key) as parent_place
    from nameable_events
    inner join named_parents
        on
            nameable_events.organization_id = named_parents.organization_id
            and nameable_events.external_id = named_parents.parent_reference
    group by named_parents.organization_id, named_parents.parent_reference

),

parents_by_id as (

    select
        named_parents.organization_id,
        named_parents.parent_reference,
        min(nameable_events.usage_event_key) as parent_event_key,
        arg_min(nameable_events.parent_reference is null, nameable_events.usage_event_key) as is_root,
        arg_min(nameable_events.place, nameable_events.usage_event_key) as parent_place
    from nameable_events
    inner join named_parents
        on
            nameable_events.organization_id = named_parents.organization_id
            and nameable_events.event_id = named_parents.parent_id
    group by named_parents.organization_id, named_parents.parent_reference

),

named_links as (

    select
        children.load_id,
        children.file_number,
        children.record_number,
        children.organization_id,
        children.usage_event_key,
        children.parent_reference,
        {{ name_hash('children.organization_id', 'children.parent_reference') }} as reference_hash,
        coalesce(parents_by_external_id.parent_event_key, parents_by_id.parent_event_key) as parent_event_key,
        case
            when parents_by_external_id.parent_event_key is not null then parents_by_external_id.parent_place
            else parents_by_id.parent_place
        end as parent_place,
        coalesce(parents_by_external_id.is_root, parents_by_id.is_root) as has_root_as_parent
    from children
    left join parents_by_external_id
        on
            children.organization_id = parents_by_external_id.organization_id
            and children.parent_reference = parents_by_external_id.parent_reference
    left join parents_by_id
        on
            children.organization_id = parents_by_id.organization_id
            and children.parent_reference = parents_by_id.parent_reference

),

{# An event that names itself has no parent. #}
links as (

    select
        * exclude (parent_event_key, parent_place),
        case when parent_event_key != usage_event_key then parent_event_key end as parent_event_key,
        case when parent_event_key != usage_event_key then parent_place end as parent_place
    from named_links

),

{# Trees that this build does not touch, as far as a touched child hangs on them. #}
standing_trees as (

    {% if works_in_place() %}
    select
        trees.usage_event_key,
        trees.root_event_key,
        struct_pack(load_id := trees.root_load_id, file_number := trees.root_file_number, record_number := trees.root_record_number) as root_place,
        trees.depth
    from {{ this }} as trees
    semi join links
        on
            trees.load_id = links.parent_place.load_id
            and trees.file_number = links.parent_place.file_number
            and trees.record_number = links.parent_place.record_number
    anti join links as touched_links on trees.usage_event_key = touched_links.usage_event_key
    where trees.root_event_key is not null
    {% else %}
    select
        cast(null as uuid) as usage_event_key,
        cast(null as uuid) as root_event_key,
        cast(null as struct(load_id bigint, file_number integer, record_number bigint)) as root_place,
        cast(null as integer) as depth
    where false
    {% endif %}

),

rooted_links as (

    select
        usage_event_key,
        parent_event_key as root_event_key,
        parent_place as root_place,
        1 as depth
    from links
    where has_root_as_parent
    union all
    select
        links.usage_event_key,
        standing_trees.root_event_key,
        standing_trees.root_place,
        standing_trees.depth + 1 as depth
    from links
    inner join standing_trees on links.parent_event_key = standing_trees.usage_event_key
    where standing_trees.depth < 100
    union all
    select
        links.usage_event_key,
        rooted_links.root_event_key,
        rooted_links.root_place,
        rooted_links.depth + 1 as depth
    from links
    inner join rooted_links on links.parent_event_key = rooted_links.usage_event_key
    where rooted_links.depth < 100

),

trees as (

    select
        links.load_id,
        links.file_number,
        links.record_number,
        links.organization_id,
        links.usage_event_key,
        links.parent_reference,
        links.reference_hash,
        links.parent_event_key,
        links.parent_place.load_id as parent_load_id,
        links.parent_place.file_number as parent_file_number,
        links.parent_place.record_number as parent_record_number,
        rooted_links.root_event_key,
        rooted_links.root_place.load_id as root_load_id,
        rooted_links.root_place.file_number as root_file_number,
        rooted_links.root_place.record_number as root_record_number,
        rooted_links.depth
    from links
    left join rooted_links on links.usage_event_key = rooted_links.usage_event_key

)

select * from trees
