{#
    Each property that the registry knows has a column, and as many events have a value there as the registry counts. A
    value that went to no column would be missing from every sum.
#}

{# A property of several types has several columns: one of them has the value. Lists are counted by item in the registry. #}
{% set counts %}
    select
        string_agg(
            'select ''' || metadata_column_key || ''' as metadata_column_key, count(*) filter (where ' || is_filled
            || ') as event_count from marts.' || relation_name,
            ' union all '
        )
    from (
        select
            relation_name,
            min(metadata_column_key) as metadata_column_key,
            string_agg('"' || column_name || '" is not null', ' or ') as is_filled
        from {{ ref('metadata_columns') }}
        where value_type != 'json'
        group by relation_name, property_path
        having not bool_or(column_name = 'other_properties')
    )
{% endset %}
{# A linter compiles this before there is any table. #}
{% set unions = run_query(counts).columns[0].values()[0] if execute and load_relation(ref('metadata_columns')) else none %}

with

metadata_columns as (

    select * from {{ ref('metadata_columns') }}

),

metadata_properties as (

    select * from {{ ref('metadata_properties') }}

),

filled_columns as (

    {{ unions or 'select null as metadata_column_key, 0 as event_count where false' }}

),

registered_properties as (

    select
        event_name,
        property_path,
        cast(sum(event_count) as bigint) as event_count
    from metadata_properties
    group by event_name, property_path

),

registered_places as (

    select distinct
        event_name,
        property_path,
        unnest(pointers) as pointer
    from metadata_properties
    where event_name in (select event_name from metadata_columns)

)

select
    metadata_columns.event_name,
    metadata_columns.property_path,
    registered_properties.event_count,
    filled_columns.event_count as filled_event_count
from filled_columns
inner join metadata_columns on filled_columns.metadata_column_key = metadata_columns.metadata_column_key
left join registered_properties
    on
        metadata_columns.event_name = registered_properties.event_name
        and metadata_columns.property_path = registered_properties.property_path
{# A column stays when the last event that had the property is gone. #}
where filled_columns.event_count != coalesce(registered_properties.event_count, 0)
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
where
    not regexp_matches(registered_places.pointer, '^/(_cost|_llm)(/|$)')
    {# `-` stands for the items of a list, which has one column as a whole. #}
    and not contains(registered_places.pointer || '/', '/-/')
