{# What the generic test sound_rows calls a failing row: its key, else its grain, else all of it, as text. #}
{% macro sound_rows_name(key, unique) %}
    {%- if key -%}
        cast({{ key }} as varchar)
    {%- elif unique -%}
        concat_ws(', '{% for column in unique[0] %}, '{{ column }}=' || coalesce(cast({{ column }} as varchar), 'null'){% endfor %})
    {%- else -%}
        cast(tested as varchar)
    {%- endif -%}
{% endmacro %}
