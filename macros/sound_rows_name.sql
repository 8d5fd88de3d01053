{# What the generic test sound_rows calls a failing row: its key as it is published, else its grain, else all of it. #}
{% macro sound_rows_name(key, unique) %}
    {%- if key -%}
        {{ text_of(key) }}
    {%- elif unique -%}
        concat_ws(', '{% for column in unique[0] %}, '{{ column }}=' || coalesce({{ text_of(column) }}, 'null'){% endfor %})
    {%- else -%}
        cast(tested as varchar)
    {%- endif -%}
{% endmacro %}
