{#
    What a test must read of a table that grows with events: the rows that changed since a build of this project that was
    complete and passed. All others are as that build's tests found them. Whole tables are read where nothing is recorded
    of the running build (raw.model_changes), where a build made the table anew, and by `dbt test`.
    A build that failed was not believed: what it changed is tested again.
#}
{% macro rows_to_test(relation) %}
    {%- set changes = changes_to_test(relation) -%}
    {%- if is_appended(relation) and flags.WHICH == 'build' -%}
        {#- What is only ever appended to: a key of an old row that comes again is a record that landed twice. -#}
        (select * from {{ relation }} where load_id > {{ last_tested_load() }})
    {%- elif changes is none -%}
        {{ relation }}
    {%- else -%}
        (
            select * from {{ relation }} as rows_of_table
            semi join {{ names_of(changes, relation) }} as changed_rows
                on {% for column in changes.columns -%}
                    {#- Equality of whole numbers and days lets DuckDB leave out row groups that hold no changed one. -#}
                    rows_of_table.{{ column.name }} {{ '=' if column.is_ordered else 'is not distinct from' }} changed_rows.{{ column.name }}
                    {{- ' and ' if not loop.last }}
                {%- else %} false {% endfor %}
        )
    {%- endif -%}
{% endmacro %}


{# Whether a relation is a table that new loads are appended to, and nothing of it is ever replaced. #}
{% macro is_appended(relation) %}
    {{ return(
        execute and relation.identifier is defined and graph.nodes.values()
            | selectattr('alias', 'equalto', relation.identifier)
            | selectattr('config.materialized', 'equalto', 'incremental')
            | rejectattr('config.touched_by', 'defined') | list | length > 0
    ) }}
{% endmacro %}


{# The names of the changed rows as they are recorded, also of rows that are gone. Only where `changes_to_test` is not none. #}
{% macro changed_names(relation) %}
    {{- names_of(changes_to_test(relation), relation) -}}
{% endmacro %}

{% macro names_of(changes, relation) %}
    {%- if changes.columns -%}
        (select distinct * exclude (build_id) from changes.{{ relation.identifier }} where build_id > {{ last_tested_build() }})
    {%- else -%}
        (select * from {{ relation }} where false)
    {%- endif -%}
{% endmacro %}


{#
    The rows of a table that grows with events whose `columns` are among those of `keys` (a CTE with columns of these
    names). Those of the changed rows are at hand, and mostly they are all: then the whole table is not read. Where the
    changes do not name rows by these columns, a part of its rows may be unchanged: then the whole table is read.
#}
{% macro rows_with_keys(relation, columns, keys) %}
    {%- set changes = changes_to_test(relation) -%}
    {%- set listed = columns | join(', ') -%}
    {%- if changes is none or columns | reject('in', changes.columns | map(attribute='name') | list) | list -%}
        {{ relation }}
    {%- else -%}
        (
            select * from {{ rows_to_test(relation) }}
            union all
            select * from {{ relation }} as kept_rows
            semi join (
                select {{ listed }} from {{ keys }}
                anti join {{ rows_to_test(relation) }} as changed_rows using ({{ listed }})
            ) as other_keys using ({{ listed }})
        )
    {%- endif -%}
{% endmacro %}


{# None where the whole table is to be read; else what names the rows that changed since the last tested build. #}
{% macro changes_to_test(relation) %}
    {%- if not execute or flags.WHICH != 'build' or relation.identifier is not defined -%}
        {{ return(none) }}
    {%- endif -%}
    {#- The others are made anew by every build: no need to ask. -#}
    {%- if not graph.nodes.values() | selectattr('alias', 'equalto', relation.identifier)
            | selectattr('config.touched_by', 'defined') | list -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set found = run_query(
        "/* the same wherever a build works in place */ select
            coalesce((
                select not bool_or(is_whole) and bool_or(build_id = (select max(build_id) from raw.builds))
                from raw.model_changes
                where model = '" ~ relation.identifier ~ "' and build_id > " ~ last_tested_build() ~ "
            ), false) as is_partial,
            coalesce((
                select string_agg(column_name || ':' || is_ordered, ',' order by is_ordered desc, column_index)
                from (select *, data_type like '%INT%' or data_type = 'DATE' as is_ordered from duckdb_columns())
                where
                    database_name = current_database() and schema_name = 'changes'
                    and table_name = '" ~ relation.identifier ~ "' and column_name != 'build_id'
            ), '') as columns"
    ).rows[0] -%}
    {%- if not found['is_partial'] -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set columns = [] -%}
    {%- for column in found['columns'].split(',') if column -%}
        {%- do columns.append({'name': column.split(':')[0], 'is_ordered': column.split(':')[1] == 'true'}) -%}
    {%- endfor -%}
    {{ return({'columns': columns}) }}
{% endmacro %}


{#
    The last build whose tests were these and passed: one of another project, or with variables of its own, had others.
    Null, which nothing is larger than, where there is none. loaders/building.py looks for it before a build begins.
#}
{% macro last_tested_build() -%}
    getvariable('meterhouse_tested_build')
{%- endmacro %}


{#
    For tests of raw records, which only ever grow, load after load: the last load that a build's tests found in order;
    0 tests them all.
#}
{% macro last_tested_load() -%}
    {{ "getvariable('meterhouse_tested_load')" if execute and flags.WHICH == 'build' else 0 }}
{%- endmacro %}
