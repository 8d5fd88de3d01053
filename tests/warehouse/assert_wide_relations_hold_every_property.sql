{#
    Each property that the registry knows has a column, and as many events have a value there as the registry counts. A
    value that went to no column would be missing from every sum.
#}

with

metadata_columns as (

    select * from {{ ref('metadata_columns') }}

),

metadata_properties as (

    select * from {{ ref('metadata_properties') }}

),

relations as (

    select distinct
        event_name,
        relation_name
    from metadata_columns

),

filled_columns as (

    select * from {{ source('raw', 'wide_values') }}

),

{#
    A key that is written with a dot (`_llm.model`) has the path of a value in the block (`_llm`), which has no column. Where
    an organization has both, the registry's count is of both.
#}
pointers_of_properties as (

    select
        *,
        list_filter(pointers, lambda pointer: not regexp_matches(pointer, '^/(_cost|_llm)(/|$)')) as pointers_beside_blocks
    from metadata_properties

),

registered_properties as (

    select
        event_name,
        property_path,
        coalesce(cast(sum(event_count) filter (where len(pointers_beside_blocks) > 0) as bigint), 0) as event_count,
        bool_or(len(pointers_beside_blocks) between 1 and len(pointers) - 1) as counts_both
    from pointers_of_properties
    group by event_name, property_path

),

registered_places as (

    select distinct
        event_name,
        property_path,
        unnest(pointers_beside_blocks) as pointer
    from pointers_of_properties
    where event_name in (select event_name from metadata_columns)

)

select
    relations.event_name,
    filled_columns.property_path,
    registered_properties.event_count,
    filled_columns.event_count as filled_event_count
from filled_columns
inner join relations on filled_columns.relation_name = relations.relation_name
left join registered_properties
    on
        relations.event_name = registered_properties.event_name
        and filled_columns.property_path = registered_properties.property_path
{# A column stays when the last event that had the property is gone. #}
where
    filled_columns.event_count != coalesce(registered_properties.event_count, 0)
    and not coalesce(registered_properties.counts_both, false)
union all
select
    registered_places.event_name,
    registered_places.property_path,
    null as event_count,
    null as filled_event_count
from registered_places
anti join metadata_columns
    on
        registered_places.event_name = metadata_columns.event_name
        and registered_places.pointer = metadata_columns.pointer
{# `-` stands for the items of a list, which has one column as a whole. #}
where not contains(registered_places.pointer || '/', '/-/')
