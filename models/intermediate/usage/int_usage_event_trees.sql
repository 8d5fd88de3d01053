{#
    One row per event that names a parent. Links go by external id first, then by Polar id, inside the organization; a
    root reaches down at most 100 levels. Cycles and events that name themselves are never reached from a root, so they
    stay orphans.
#}

with recursive

usage_events as (

    select
        organization_id,
        usage_event_key,
        external_id,
        event_id,
        parent_reference
    from {{ ref('int_usage_events_counted') }}

),

children as (

    select * from usage_events
    where parent_reference is not null

),

links as (

    select
        children.organization_id,
        children.usage_event_key,
        coalesce(parents_by_external_id.usage_event_key, parents_by_id.usage_event_key) as parent_event_key
    from children
    left join usage_events as parents_by_external_id
        on
            children.organization_id = parents_by_external_id.organization_id
            and children.parent_reference = parents_by_external_id.external_id
    left join usage_events as parents_by_id
        on
            children.organization_id = parents_by_id.organization_id
            and {{ polar_id('children.parent_reference') }} = parents_by_id.event_id
    {# Polar keeps external ids unique; an export that does not must not double the children. #}
    qualify row_number() over (
        partition by children.usage_event_key
        order by parents_by_external_id.usage_event_key nulls last, parents_by_id.usage_event_key
    ) = 1

),

rooted_links as (

    select
        links.usage_event_key,
        links.parent_event_key as root_event_key,
        1 as depth
    from links
    inner join usage_events as parents on links.parent_event_key = parents.usage_event_key
    where parents.parent_reference is null
    union all
    select
        links.usage_event_key,
        rooted_links.root_event_key,
        rooted_links.depth + 1 as depth
    from links
    inner join rooted_links on links.parent_event_key = rooted_links.usage_event_key
    where rooted_links.depth < 100

),

trees as (

    select
        links.usage_event_key,
        nullif(links.parent_event_key, links.usage_event_key) as parent_event_key,
        rooted_links.root_event_key,
        rooted_links.depth
    from links
    left join rooted_links on links.usage_event_key = rooted_links.usage_event_key

)

select * from trees
