{#
    An id of Polar's as it writes it: UUIDs are lower case, and a merchant may send one in capitals. Only what is as long
    as a UUID is touched, so that an id of another form stays itself.
#}
{% macro polar_id(expression) -%}
    (case when length({{ expression }}) = 36 then lower({{ expression }}) else {{ expression }} end)
{%- endmacro %}
