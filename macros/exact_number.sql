{#
    One of an event's long numbers as DECIMAL(38,12), by its JSON pointer; null where the event has none there or the
    number does not fit.
#}
{% macro exact_number(exact_numbers, pointer) -%}
    cast(json_extract_string({{ exact_numbers }}, '/' || replace(replace({{ pointer }}, '~', '~0'), '/', '~1')) as decimal(38, 12))
{%- endmacro %}
