{#
    How dbt builds the tables here, in one statement and one transaction: replace the table and write its comments. What
    dbt-duckdb does (build beside, rename twice, drop, ask for the columns) guards against nothing here, because a DuckDB
    transaction covers tables too, and takes most of a small build's time: four of five statements.
    A contract is compared with the query where the project is not the one of the last build that passed: the same models
    give the same types.
#}
{% materialization table, adapter='duckdb' %}

    {%- set existing_relation = load_cached_relation(this) -%}
    {%- set target_relation = this.incorporate(type='table') -%}
    {%- set has_contract = config.get('contract').enforced -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {%- if has_contract and not run_query(last_tested_build()).rows[0]['build_id'] -%}
        {{ get_assert_columns_equivalent(compiled_code) }}
    {%- endif -%}
    {%- if existing_relation is not none and not existing_relation.is_table -%}
        {%- do adapter.drop_relation(existing_relation) -%}
    {%- endif -%}

    {% call statement('main') -%}
        create or replace table {{ target_relation }} as (
            {{ get_select_subquery(compiled_code) if has_contract else compiled_code }}
        );
        {{ comments_on(target_relation) }}
    {%- endcall %}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% do adapter.commit() %}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [target_relation]}) }}

{% endmaterialization %}


{# The descriptions of a model and its columns as comments; as many statements. #}
{% macro comments_on(relation) %}
    {% if config.persist_relation_docs() and model.description %}
        comment on table {{ relation }} is {{ duckdb_escape_comment(model.description) }};
    {% endif %}
    {% if config.persist_column_docs() %}
        {% for name, column in model.columns.items() if column.description %}
            comment on column {{ relation }}.{{ name }} is {{ duckdb_escape_comment(column.description) }};
        {% endfor %}
    {% endif %}
{% endmacro %}
