{#
    For incremental models that read raw records, which only ever grow, load after load: a condition that leaves out the
    loads that the model has read, those without a row for it too. The watermark is a literal, so that DuckDB's zone maps
    leave old loads unread.
#}
{% macro only_new_loads() %}
    {%- if execute and model.resource_type == 'model' and is_incremental() -%}
        and load_id > {{ value_of("select coalesce(max(through_load_id), 0) from raw.increments where model = '" ~ model.name ~ "'") }}
    {%- endif -%}
{% endmacro %}


{#
    What an incremental table holds was made by the definition of its day. Each such table's definition is recorded when
    it is built; one whose definition has changed since is dropped before a build, which then makes it anew.
#}
{% macro record_increment() %}
    insert or replace into raw.increments
    select
        '{{ model.name }}',
        '{{ local_md5(model.raw_code) }}' || getvariable('meterhouse_macros'),
        coalesce(max(load_id), 0)
    from raw.loads;
{% endmacro %}


{% macro drop_outdated_increments() %}
    {# A model outside the selection is not made anew: it stays as it is until its turn. #}
    {% for node in graph.nodes.values()
        if node.unique_id in selected_resources and node.resource_type == 'model' and node.config.materialized == 'incremental'
        and not node.config.touched_by %}
        {% set recorded = run_query(
            "select count(*) from raw.increments where model = '" ~ node.name ~ "' and definition = '"
            ~ local_md5(node.raw_code) ~ "' || getvariable('meterhouse_macros')"
        ).columns[0].values()[0] %}
        {% set relation = adapter.get_relation(node.database, node.schema, node.alias) %}
        {% if relation is not none and not recorded %}
            {% do adapter.drop_relation(relation) %}
        {% endif %}
    {% endfor %}
{% endmacro %}
