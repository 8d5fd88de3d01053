{#
    A build is recorded before its first model and closed after its last test, so that a publish can tell a build that
    passed from one that failed, was killed or covered only part of the project. Seeds, runs and builds change tables;
    other commands do not count.
#}
{% macro record_build_start() %}
    {% if execute and flags.WHICH in ['build', 'run', 'seed'] %}
        {% do drop_outdated_increments() %}
        {% do drop_unless_built() %}
        insert into raw.builds
        select
            coalesce(max(build_id), 0) + 1,
            '{{ flags.WHICH }}',
            getvariable('meterhouse_as_of'),
            (now() at time zone 'UTC'),
            null,
            {{ 'true' if is_complete_build() else 'false' }},
            null,
            coalesce((select max(load_id) from raw.loads), 0),
            {# What a command line adds to the project's variables is not to be seen in its files. #}
            {{ 'null' if invocation_args_dict.get('vars') else "getvariable('meterhouse_project')" }},
            {{ definitions_of_this_build() }}
        from raw.builds;
        {# What is not made in this build is as it was; what is says so itself. #}
        insert into raw.model_changes
        select builds.build_id, tables.name, false
        from raw.builds as builds
        cross join (
            select relation_name as name from raw.wide_relations
            where through_load_id is not null
            {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.config.touched_by %}
            union all
            select '{{ node.alias }}' as name
            {%- endfor %}
        ) as tables
        where builds.build_id = (select max(build_id) from raw.builds) and builds.is_complete;
    {% endif %}
{% endmacro %}

{% macro record_build_end(results) %}
    {% if execute and flags.WHICH in ['build', 'run', 'seed'] %}
        {% set failed = results | selectattr('status', 'in', ['error', 'fail', 'runtime error', 'skipped', 'partial success']) | list %}
        update raw.builds
        set
            finished_at = (now() at time zone 'UTC'),
            succeeded = {{ 'false' if failed else 'true' }}
        where build_id = (select max(build_id) from raw.builds) and finished_at is null;
        {# Also where a test failed: the models are whole all the same. #}
        {% set lacking = results | selectattr('node.resource_type', 'equalto', 'model') | rejectattr('status', 'equalto', 'success') | list %}
        {% if flags.WHICH != 'seed' and not lacking and has_every_model() %}{{ remember_what_was_applied() }}{% endif %}
    {% endif %}
{% endmacro %}


{% macro is_complete_build() %}
    {% do return(flags.WHICH == 'build' and has_every_model()) %}
{% endmacro %}


{#
    Unit tests judge the models with made-up rows: leaving them out leaves nothing of the build out. What `meterhouse run`
    leaves out is known to be as the last complete build left it.
#}
{% macro has_every_model() %}
    {% set selection = (invocation_args_dict.get('select') or []) | join(' ') %}
    {% do return(
        (invocation_args_dict.get('exclude') or []) | list in [[], ['test_type:unit']]
        and not invocation_args_dict.get('selector')
        and not invocation_args_dict.get('resource_types')
        and not invocation_args_dict.get('exclude_resource_types')
        and selection == run_query("select coalesce(getvariable('meterhouse_affected'), '')").columns[0].values()[0]
    ) %}
{% endmacro %}
