{#
    The hook gives names to what has none and writes the relations, so that names, relations and this table are of one
    transaction. It runs before the table is made, which lists the names.
#}
{{ config(pre_hook="{{ write_wide_relations([none, ref('int_usage_events_changed')][works_in_place() | int]) }}") }}

with

relations as (

    select * from {{ source('raw', 'wide_relations') }}
    where through_load_id is not null

),

columns as (

    select * from {{ source('raw', 'wide_columns') }}

)

select
    {{ surrogate_key(["'metadata_column'", 'relations.event_name', 'columns.pointer', 'columns.value_type']) }} as metadata_column_key,
    relations.event_name,
    columns.property_path,
    columns.pointer,
    columns.value_type,
    relations.relation_name,
    columns.column_name,
    columns.position
from relations
inner join columns on relations.relation_name = columns.relation_name
