{#
    The wide relations have exactly the columns that were given, in that order and by names that no database folds into
    one. A column that moves or changes its type breaks the dashboards on it.
#}

with

given_columns as (

    select distinct
        relation_name,
        column_name,
        position,
        case
            when column_name = 'other_properties' or value_type in ('string', 'json') then 'VARCHAR'
            when value_type = 'number' then 'DECIMAL(38,12)'
            when value_type = 'double' then 'DOUBLE'
            else 'BOOLEAN'
        end as data_type
    from {{ ref('metadata_columns') }}

),

found_columns as (

    select
        columns.table_name as relation_name,
        columns.column_name,
        columns.ordinal_position - 1 as position,
        columns.data_type
    from information_schema.columns as columns
    where columns.table_schema = 'marts' and starts_with(columns.table_name, 'wide_') and columns.column_name != 'usage_event_key'

)

select
    coalesce(given_columns.relation_name, found_columns.relation_name) as relation_name,
    coalesce(given_columns.column_name, found_columns.column_name) as column_name,
    given_columns.position,
    found_columns.position as found_position,
    found_columns.data_type
from given_columns
full outer join found_columns
    on
        given_columns.relation_name = found_columns.relation_name
        and given_columns.column_name = found_columns.column_name
        and given_columns.position = found_columns.position
        and given_columns.data_type = found_columns.data_type
where
    given_columns.position is null
    or found_columns.position is null
    or not regexp_full_match(found_columns.column_name, '[a-z_][a-z0-9_]*')
