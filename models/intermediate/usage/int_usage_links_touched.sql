{#
    The few rows are on the right of each join, where DuckDB builds its hash tables. It has no idea how many a recursion
    returns, and would rather build them from all links and all names: four seconds for ten million events.
#}
{{ config(
    pre_hook="set disabled_optimizers = 'build_side_probe_side'",
    post_hook="reset disabled_optimizers"
) }}

{#
    The children whose parent, root or depth may be another since the last build: those that are touched, those that name
    a touched event, and what hangs below either. By their places only: DuckDB reads a selected column of whole row groups,
    and a text of each link would be most of what this reads. Empty where the build makes everything anew.
#}
{% if not works_in_place() %}

select
    load_id,
    file_number,
    record_number,
    load_id as first_parent_load_id,
    load_id as last_parent_load_id
from {{ ref('int_usage_events_touched') }}
where
    false
    and load_id in (select load_id from {{ ref('int_usage_events_counted') }})
    and load_id in (select load_id from {{ ref('int_usage_event_names') }})

{% else %}

with recursive

touched_events as (

    select * from {{ ref('int_usage_events_touched') }}

),

{# Kept whole, a table that is named twice would be read whole; as it stands each reader takes its few rows. #}
links as not materialized (

    select * from {{ stored('intermediate', 'int_usage_event_trees') }}

),

counted_events as not materialized (

    select * from {{ ref('int_usage_events_counted') }}

),

{# Whatever a touched event is or was called by: a submission that stops counting takes its children's parent away. #}
touched_names as (

    select {{ name_hash('organization_id', 'external_id') }} as reference_hash from touched_events
    where external_id is not null
    union
    select {{ name_hash('organization_id', 'event_id') }} as reference_hash from touched_events
    where event_id is not null
    union
    select {{ name_hash('organization_id', 'external_id') }} as reference_hash from counted_events
    semi join touched_events using (load_id, file_number, record_number)
    where external_id is not null
    union
    select {{ name_hash('organization_id', 'old_external_id') }} as reference_hash from touched_events
    where old_external_id is not null

),

stored_links as (

    select load_id, file_number, record_number, root_load_id from links
    semi join touched_names using (reference_hash)
    union
    select load_id, file_number, record_number, root_load_id from links
    semi join touched_events using (load_id, file_number, record_number)

),

naming_links as (

    select load_id, file_number, record_number from stored_links
    union
    select load_id, file_number, record_number from counted_events
    semi join touched_events using (load_id, file_number, record_number)
    where parent_reference is not null

),

{# What hangs below a link that had no root has none either. Only where one had, another tree may lose its steps. #}
links_below as not materialized (

    select
        load_id,
        file_number,
        record_number,
        parent_load_id,
        parent_file_number,
        parent_record_number
    from links
    where root_load_id is null
    union all
    select
        links.load_id,
        links.file_number,
        links.record_number,
        links.parent_load_id,
        links.parent_file_number,
        links.parent_record_number
    from links
    cross join (select distinct true as is_rooted from stored_links where root_load_id is not null) as rooted
    where links.root_load_id is not null

),

{# UNION, not UNION ALL: it ends on a circle. #}
hanging_links as (

    select * from naming_links
    union
    select links_below.load_id, links_below.file_number, links_below.record_number from links_below
    inner join hanging_links
        on
            links_below.parent_load_id = hanging_links.load_id
            and links_below.parent_file_number = hanging_links.file_number
            and links_below.parent_record_number = hanging_links.record_number

),

references_made as (

    select
        hanging_links.*,
        {{ name_hash('children.organization_id', 'children.parent_reference') }} as name_hash
    from hanging_links
    left join (
        select * from counted_events
        semi join hanging_links using (load_id, file_number, record_number)
    ) as children
        on
            hanging_links.load_id = children.load_id
            and hanging_links.file_number = children.file_number
            and hanging_links.record_number = children.record_number

),

places_named as (

    select name_hash, min(load_id) as first_load_id, max(load_id) as last_load_id from {{ ref('int_usage_event_names') }}
    semi join references_made using (name_hash)
    group by name_hash

)

select
    references_made.load_id,
    references_made.file_number,
    references_made.record_number,
    places_named.first_load_id as first_parent_load_id,
    places_named.last_load_id as last_parent_load_id
from references_made
left join places_named on references_made.name_hash = places_named.name_hash

{% endif %}
