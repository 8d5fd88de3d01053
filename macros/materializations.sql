{#
    How dbt builds the tables here, each in one statement and one transaction, comments included. What dbt-duckdb does
    (build beside, rename twice, drop, ask for the columns) guards against nothing here, because a DuckDB transaction
    covers tables too, and takes most of a small build's time: four of five statements.
#}
{% materialization table, adapter='duckdb' %}

    {%- set target_relation = this.incorporate(type='table') -%}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {%- do clear_the_place_of(target_relation) -%}

    {% call statement('main') -%}
        {{ create_whole(target_relation, compiled_code) }}
    {%- endcall %}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% do adapter.commit() %}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [target_relation]}) }}

{% endmaterialization %}


{#
    Tables that grow with events: what is new is appended, or, with `touched_by` and `touched_on` in a model's config, the
    touched rows are replaced. A table of another definition was dropped before (see `drop_unless_built` and
    `drop_outdated_increments`), so that its columns are the query's.
#}
{% materialization incremental, adapter='duckdb' %}

    {%- set target_relation = this.incorporate(type='table') -%}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {%- do clear_the_place_of(target_relation) -%}

    {% call statement('main') -%}
        {%- if not is_incremental() -%}
            {{ create_whole(target_relation, compiled_code) }}
        {%- elif model.config.touched_by -%}
            {{ replace_touched(target_relation, compiled_code) }}
        {%- else -%}
            insert into {{ target_relation }} by name (
                {{ compiled_code }}
            );
        {%- endif -%}
        {{ record_change() if model.config.touched_by else record_increment() }}
    {%- endcall %}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% do adapter.commit() %}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [target_relation]}) }}

{% endmaterialization %}


{#
    A view of tables that are changed in place, which has itself no rows to change: it names those that differ, as such a
    table does, so that tests read and a publish writes only them. Its query names no database, whose name is the file's:
    a copy of the file has another.
#}
{% materialization incremental_view, adapter='duckdb' %}

    {%- set target_relation = this.incorporate(type='view') -%}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {%- do clear_the_place_of(target_relation) -%}

    {% call statement('main') -%}
        {{ compare_contract(compiled_code) }}
        create or replace view {{ target_relation }} as (
            {{ get_select_subquery(compiled_code) if config.get('contract').enforced else compiled_code }}
        );
        {{ comments_on(target_relation) }}
        {{ record_change() }}
    {%- endcall %}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% do adapter.commit() %}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [target_relation]}) }}

{% endmaterialization %}


{# A view where a table is to be, or the other way round: `create or replace` refuses to replace it. #}
{% macro clear_the_place_of(relation) %}
    {%- set existing_relation = load_cached_relation(relation) -%}
    {%- if existing_relation is not none and existing_relation.type != relation.type -%}
        {%- do adapter.drop_relation(existing_relation) -%}
    {%- endif -%}
{% endmacro %}


{#
    A contract is compared with the query where the project is not the one of the last build that passed: the same models
    give the same types.
#}
{% macro compare_contract(compiled_code) %}
    {%- if config.get('contract').enforced and run_query('/* the same wherever a build works in place */ select ' ~ last_tested_build()).columns[0].values()[0] is none -%}
        {{ get_assert_columns_equivalent(compiled_code) }}
    {%- endif -%}
{% endmacro %}


{% macro create_whole(relation, compiled_code) %}
    {{ compare_contract(compiled_code) }}
    create or replace table {{ relation }} as (
        {{ get_select_subquery(compiled_code) if config.get('contract').enforced else compiled_code }}
    );
    {{ comments_on(relation) }}
{% endmacro %}


{#
    Computes the touched rows before it deletes them, because the query may read the others of its table.
    A join, not a list of rows: its keys are filters of the scan, and leave out what holds no touched load. Each key once:
    a row would else meet every touched event of its load.
#}
{% macro replace_touched(relation, compiled_code) %}
    {%- set touched_on = config.get('touched_on', ['load_id', 'file_number', 'record_number']) -%}
    create or replace temp table computed_rows as (
        {{ compiled_code }}
    );
    delete from {{ relation }} as kept
    using (select distinct {{ touched_on | join(', ') }} from {{ ref(config.get('touched_by')) }}) as touched
    where {% for column in touched_on %}kept.{{ column }} = touched.{{ column }}{{ ' and ' if not loop.last }}{% endfor %};
    insert into {{ relation }} by name from computed_rows;
    drop table computed_rows;
{% endmacro %}


{# The descriptions of a model and its columns as comments; as many statements. #}
{% macro comments_on(relation) %}
    {% if config.persist_relation_docs() and model.description %}
        comment on {{ relation.type }} {{ relation }} is {{ duckdb_escape_comment(model.description) }};
    {% endif %}
    {% if config.persist_column_docs() %}
        {% for name, column in model.columns.items() if column.description %}
            comment on column {{ relation }}.{{ name }} is {{ duckdb_escape_comment(column.description) }};
        {% endfor %}
    {% endif %}
{% endmacro %}
