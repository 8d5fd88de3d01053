{# The place of the root of a usage event's tree, as its load_id, file_number and record_number: its own where it names no parent. #}
{% macro root_place() -%}
    {%- for column in ['load_id', 'file_number', 'record_number'] -%}
        case when names_parent then root_{{ column }} else {{ column }} end as {{ column }}{{ ', ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}
