{#
    How models that grow with events follow what is new.

    A build works in place where the last one made every model, under the same definitions (`applied.last_build` stands for
    that): then what it left behind differs from what a build of everything would give only where records came in since. `*_touched` models name those
    rows, by the place of their event (load_id, file_number, record_number: integers that zone maps and joins like), or
    by another key. An incremental model computes the touched rows anew, deletes them, old version and new, and inserts
    what was computed. Everything else (a first build, a failed one before, another definition) drops these tables first
    and makes them whole, so nothing ever has to be mended in place.
#}
{% macro works_in_place() %}
    {% do return(
        execute and model.resource_type == 'model' and not flags.FULL_REFRESH
        and stored('applied', 'last_build') is not none
        and (model.config.materialized != 'incremental' or stored(this.schema, this.identifier) is not none)
    ) %}
{% endmacro %}


{# A relation as the last build left it, or none. Not a ref: what the last build left is an input of this one. #}
{% macro stored(schema, name) %}
    {% do return(adapter.get_relation(database=target.database, schema=schema, identifier=name)) %}
{% endmacro %}


{# Where the last build read up to: what came in since has a larger load_id. #}
{% macro last_built_load_id() %}
    {%- do return(value_of('select through_load_id from applied.last_build')) -%}
{% endmacro %}


{#
    The one value a query returns, by a variable: unlike a subquery it lets zone maps leave old rows unread, and unlike a
    literal the statement that reads it is the same in every build.
#}
{% macro value_of(query) %}
    {%- set name = 'value_' ~ local_md5(query) -%}
    {%- do run_query('set variable ' ~ name ~ ' = (' ~ query ~ ')') -%}
    {%- do return("getvariable('" ~ name ~ "')") -%}
{% endmacro %}


{#
    The text that a query returns, to be executed next. What the text depends on differs from build to build: whoever
    repeats the statements of this one (loaders/shortcut.py) asks for it again.
#}
{% macro statement_of(query) %}
    {%- do return(run_query('/* returns the next statement */ ' ~ query).columns[0].values()[0]) -%}
{% endmacro %}


{#
    Restricts a relation of a FROM clause to the rows that a `*_touched` model names. Renders nothing where the table is
    made whole, and in unit tests, which judge a model's rules and not its increments.
#}
{% macro touched_only(touched, columns=['load_id', 'file_number', 'record_number']) %}
    {%- if model.resource_type == 'model' -%}
        {%- set relation = ref(touched) -%}
        {%- if works_in_place() %} semi join {{ relation }} using ({{ columns | join(', ') }}){% endif -%}
    {%- endif -%}
{% endmacro %}


{# For a view whose changed rows a `*_changed` model names: it is built after it. Unit tests judge the view without. #}
{% macro changes_come_from(changed) %}
    {%- if model.resource_type == 'model' -%}
        -- depends_on: {{ ref(changed) }}
    {%- endif -%}
{% endmacro %}


{#
    Rows of a small table that differ from the version that the last build applied (see `remembered_models`), old and new.
    Only where the build works in place.
#}
{% macro differing_rows(name, columns) %}
    {%- set listed = columns | join(', ') -%}
    select {{ listed }} from (
        (select {{ listed }} from {{ ref(name) }} except select {{ listed }} from applied.{{ name }})
        union
        (select {{ listed }} from applied.{{ name }} except select {{ listed }} from {{ ref(name) }})
    )
{% endmacro %}


{# Small tables that a build applies to events. It keeps them at its end: the next one looks at what differs. #}
{% macro remembered_models() %}
    {% do return([
        'int_billing_periods_settled', 'int_billing_routes', 'int_carried_prices', 'int_credits_granted',
        'int_customers_merged', 'int_external_ids_held', 'int_members_paired', 'int_meter_resets', 'int_metering_periods', 'int_meters_known',
        'int_organizations_covered', 'int_prices_known', 'int_reference_prices', 'int_subscriptions_merged'
    ]) %}
{% endmacro %}


{% macro remember_what_was_applied() %}
    {% for node in graph.nodes.values() if node.resource_type == 'model' and node.name in remembered_models() %}
        create or replace table applied.{{ node.name }} as from {{ node.schema }}.{{ node.name }};
    {% endfor %}
    create or replace table applied.last_build as
    select build_id, through_load_id, definitions from raw.builds
    where build_id = (select max(build_id) from raw.builds) and definitions is not null
{% endmacro %}


{#
    Part of every build of an incremental model, or of a view of one: says what the build did to a table that grows with
    events, and names the rows, so that a test need not read, nor a publish write, the others. `named_by` in the config of
    a view, which has no `touched_on`, names them by other columns than an event's place.
#}
{% macro record_change() %}
    {%- set build_id -%} (select max(build_id) from raw.builds) {%- endset -%}
    {%- if works_in_place() %}
        {%- set named_by = model.config.named_by or model.config.touched_on or ['load_id', 'file_number', 'record_number'] -%}
        create table if not exists changes.{{ model.name }} as
        select {{ build_id }} as build_id, {{ named_by | join(', ') }} from {{ ref(model.config.touched_by) }} limit 0;
        {# Once more after a retry; and whoever did not publish for so long writes the table whole. #}
        delete from changes.{{ model.name }}
        where build_id = {{ build_id }} or build_id < {{ build_id }} - 100;
        delete from raw.model_changes where model = '{{ model.name }}' and build_id < {{ build_id }} - 100;
        insert into changes.{{ model.name }}
        select distinct {{ build_id }} as build_id, {{ named_by | join(', ') }} from {{ ref(model.config.touched_by) }};
    {%- else %}
        drop table if exists changes.{{ model.name }};
    {%- endif %}
    delete from raw.model_changes where model = '{{ model.name }}' and build_id = {{ build_id }};
    insert into raw.model_changes values ({{ build_id }}, '{{ model.name }}', {{ 'false' if works_in_place() else 'true' }});
{% endmacro %}


{#
    Before a build: drops what it cannot change in place, unless the last build made every model under the same definitions. A model outside the selection stays as it is until its turn: then the next complete build makes it anew.
#}
{% macro drop_unless_built() %}
    {# Not by dbt's cache, which is filled in a transaction that the statements of a hook would be part of, and end with. #}
    {% set has_last_build = run_query(
        "select count(*) from duckdb_tables()
        where database_name = current_database() and schema_name = 'applied' and table_name = 'last_build'"
    ).columns[0].values()[0] %}
    {% set is_built = has_last_build and run_query(
        "select count(*) from applied.last_build where definitions = " ~ definitions_of_this_build()
        ~ " and build_id = (select max(build_id) from raw.builds where command != 'seed')"
    ).columns[0].values()[0] %}
    {% if not is_built or flags.FULL_REFRESH %}
        {% do run_query('drop table if exists applied.last_build') %}
        {% do drop_what_no_model_makes() %}
        {% for node in graph.nodes.values()
            if node.unique_id in selected_resources and node.resource_type == 'model' and node.config.touched_by %}
            {% set relation = adapter.get_relation(node.database, node.schema, node.alias) %}
            {% if relation is not none %}{% do adapter.drop_relation(relation) %}{% endif %}
        {% endfor %}
    {% endif %}
{% endmacro %}


{# The large tables of models that are gone, or have another name now, and what was recorded of them. #}
{% macro drop_what_no_model_makes() %}
    {% set made = graph.nodes.values() | map(attribute='alias') | list %}
    {% set found = run_query(
        "select schema_name, table_name from duckdb_tables()
        where
            database_name = current_database() and schema_name in ('intermediate', 'applied', 'changes')
            and starts_with(table_name, 'int_')"
    ) %}
    {% for schema, name in found.rows if name not in made %}
        {% do run_query('drop table ' ~ adapter.quote(schema) ~ '.' ~ adapter.quote(name)) %}
    {% endfor %}
{% endmacro %}


{# What a command line adds to the project's variables is not to be seen in its files: such a build is like no other. #}
{% macro definitions_of_this_build() %}
    {% do return('null' if invocation_args_dict.get('vars') else "getvariable('meterhouse_definitions')") %}
{% endmacro %}


{#
    A condition that an instant lies between the least and the largest value of two columns of a `*_touched` or `*_changed`
    model, as literals, so that zone maps leave the other events unread. True where the table is made whole.
#}
{% macro within_span(changed, instant, first, last) %}
    {%- if works_in_place() -%}
        {{ instant }} between {{ value_of('select min(' ~ first ~ ') from ' ~ ref(changed)) }}
        and {{ value_of('select max(' ~ last ~ ') from ' ~ ref(changed)) }}
    {%- else -%}
        true
    {%- endif -%}
{% endmacro %}


{#
    The end of an incremental model whose rows come out of an aggregation, in no order: made whole, they are written in
    the order of a day or instant, so that zone maps leave old ones unread when touched rows are looked up and replaced.
    What a build appends is new anyway.
#}
{% macro in_order_of(column) %}
    {%- if model.resource_type == 'model' and not works_in_place() %}order by {{ column }}{% endif -%}
{% endmacro %}
