{#
    The script that makes the wide relations, for the hook of a model: one transaction with it. Names are given by
    loaders/wide.py, which also writes the script: no key and no event name passes through Jinja, which would read "" and
    "null" from a query as none.
#}
{% macro write_wide_relations(changed=none) %}
    {% set events, structures = ref('int_usage_events_attributed'), ref('int_metadata_structures') %}
    {% if execute %}
        {% set batch = none if changed is none else take_changed_events(events, changed) %}
        {% do return(statement_of(wide_relations_query(events, structures, batch, changed))) %}
    {% endif %}
{% endmacro %}


{# The same as an operation: `dbt run-operation rewrite_wide_relations`. #}
{% macro rewrite_wide_relations(changed=none) %}
    {% do run_query('begin transaction; ' ~ write_wide_relations(changed) ~ ' commit;') %}
{% endmacro %}


{#
    The changed events that are still there, as a temporary table. Loads are named as literals, so that zone maps leave
    the others unread; of very many, a scan finds as much.
#}
{% macro take_changed_events(events, changed) %}
    {% do run_query(statement_of(
        "select 'create or replace temporary table changed_usage_events as select events.* from " ~ events ~ " as events semi join "
        ~ changed ~ " as changed on events.load_id = changed.load_id and events.usage_event_key = changed.usage_event_key'"
        ~ " || case when count(distinct load_id) between 1 and 1000"
        ~ " then ' where events.load_id in (' || string_agg(distinct cast(load_id as varchar), ', ') || ')' else '' end"
        ~ " from " ~ changed
    )) %}
    {% do return('changed_usage_events') %}
{% endmacro %}


{# A query that gathers what the script depends on: names given so far, and the places and types that events carry. #}
{% macro wide_relations_query(events, structures, batch, changed) %}
{%- set wanted = dbt.string_literal(dbt.escape_single_quotes(tojson(var('wide_event_names') or []))) -%}
{%- set schema = generate_schema_name('marts', none) | trim %}
with recursive

wanted_names as (

    select unnest(from_json({{ wanted }}, '["VARCHAR"]')) as event_name

),

event_names as (

    select
        event_name,
        cast(sum(event_count) as bigint) as event_count
    from {{ structures }}
    group by event_name

),

frequent_names as (

    select event_name from event_names
    order by event_count desc, event_name
    limit 20

),

{# A relation that was made once stays, because dashboards rely on it; only a list of names leaves others out. #}
targets as (

    select
        names.event_name,
        coalesce(event_names.event_count, 0) as event_count,
        {{ 'true' if changed is none else 'tables.table_name is null' }} as is_anew
    from (
        {% if var('wide_event_names') -%}
        select event_name from wanted_names
        where event_name in (select event_name from event_names)
        union
        select event_name from raw.wide_relations
        where event_name in (select event_name from wanted_names)
        {%- else -%}
        select event_name from frequent_names
        union
        select event_name from raw.wide_relations
        where through_load_id is not null
        {%- endif %}
    ) as names
    left join event_names on names.event_name = event_names.event_name
    left join raw.wide_relations as relations on names.event_name = relations.event_name
    left join duckdb_tables() as tables
        on
            relations.relation_name = tables.table_name
            and tables.schema_name = '{{ schema }}'
            and relations.through_load_id is not null

),

{# Events come from programs: there are few structures, however many the events. #}
scope as (

    select
        event_name,
        metadata_structure,
        case when contains(exact_numbers, ':null') then cast(json_structure(exact_numbers) as varchar) end as exact_structure,
        count(*) as event_count
    from (
        select event_name, metadata_structure, exact_numbers from {{ events }}
        where event_name in (select event_name from targets where is_anew)
        {% if batch is not none -%}
        union all
        select event_name, metadata_structure, exact_numbers from {{ batch }}
        where event_name in (select event_name from targets where not is_anew)
        {%- endif %}
    )
    group by event_name, metadata_structure, exact_structure

),

shapes as (

    select
        row_number() over (order by event_name, metadata_structure) as shape_number,
        event_name,
        cast(metadata_structure as json) as structure,
        cast(sum(event_count) as bigint) as event_count
    from scope
    group by event_name, metadata_structure

),

{# `_cost` and `_llm` are columns of usage_events, and what a person wrote may be in them. #}
places as (

    select
        shapes.shape_number,
        member.key as property_path,
        '/' || replace(replace(member.key, '~', '~0'), '/', '~1') as pointer,
        member.value as structure,
        member.type as place_type
    from shapes, json_each(shapes.structure) as member
    where json_type(shapes.structure) = 'OBJECT' and member.key not in ('_cost', '_llm')
    union all
    select
        places.shape_number,
        places.property_path || '.' || member.key as property_path,
        places.pointer || '/' || replace(replace(member.key, '~', '~0'), '/', '~1') as pointer,
        member.value as structure,
        member.type as place_type
    from places, json_each(places.structure) as member
    where places.place_type = 'OBJECT'

),

nodes as (

    select
        shapes.event_name,
        places.pointer,
        places.property_path,
        case
            when places.place_type = 'OBJECT' then 'object'
            when places.place_type = 'ARRAY' then 'json'
            when json_extract_string(places.structure, '$') = 'VARCHAR' then 'string'
            when json_extract_string(places.structure, '$') = 'BOOLEAN' then 'boolean'
            {# An empty object. #}
            when json_extract_string(places.structure, '$') = 'JSON' then 'json'
            else 'number'
        end as value_type,
        cast(sum(shapes.event_count) as bigint) as event_count
    from places
    inner join shapes on places.shape_number = shapes.shape_number
    where not (places.place_type = 'VARCHAR' and json_extract_string(places.structure, '$') = 'NULL')
    group by all

),

{# Numbers that DECIMAL(38,12) does not hold are null among the exact ones. #}
inexact_places as (

    select
        scope.event_name,
        member.key as pointer,
        cast(sum(scope.event_count) as bigint) as event_count
    from (
        select event_name, exact_structure, sum(event_count) as event_count from scope
        where exact_structure is not null
        group by event_name, exact_structure
    ) as scope, json_each(scope.exact_structure) as member
    where json_extract_string(member.value, '$') = 'NULL'
    group by scope.event_name, member.key

),

all_nodes as (

    select * from nodes
    union all
    select
        nodes.event_name,
        nodes.pointer,
        nodes.property_path,
        'double' as value_type,
        inexact_places.event_count
    from nodes
    inner join inexact_places
        on
            nodes.event_name = inexact_places.event_name
            and nodes.pointer = inexact_places.pointer
    where nodes.value_type = 'number'

)

select wide_relations_script(cast(json_object(
    'schema', '{{ schema }}',
    'events', {{ dbt.string_literal(dbt.escape_single_quotes(events | string)) }},
    'last_load_id', coalesce((select max(load_id) from {{ events }}), 0),
    'column_limit', {{ var('wide_column_limit') | int }},
    'batch', {{ 'null' if batch is none else dbt.string_literal(dbt.escape_single_quotes(batch | string)) }},
    'changed', {{ 'null' if changed is none else dbt.string_literal(dbt.escape_single_quotes(changed | string)) }},
    'first_changed_load_id', {{ 'null' if changed is none else '(select min(load_id) from ' ~ changed ~ ')' }},
    'keywords', coalesce(
        (select list(keyword_name) from duckdb_keywords() where keyword_category in ('reserved', 'type_function')), []
    ),
    'tables', coalesce((select list(table_name) from duckdb_tables() where schema_name = '{{ schema }}'), []),
    'targets', coalesce((select list(targets order by targets.event_name) from targets), []),
    'relations', coalesce((select list(relations order by relations.relation_name) from raw.wide_relations as relations), []),
    'columns', coalesce(
        (select list(columns order by columns.relation_name, columns.position) from raw.wide_columns as columns), []
    ),
    'nodes', coalesce((select list(nodes order by nodes.event_name, nodes.pointer, nodes.value_type) from all_nodes as nodes), [])
) as varchar))
{% endmacro %}
