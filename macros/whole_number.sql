{#
    A decimal read from JSON as BIGINT; null where it has a fraction (from_json alone would round 1.5) and from 10^15 on:
    no count of tokens or minor units is so large, and a few such numbers would overflow the sum of all others.
#}
{% macro whole_number(expression) -%}
    (case
        when {{ expression }} = trunc({{ expression }}) and abs({{ expression }}) < 1e15
            then try_cast({{ expression }} as bigint)
    end)
{%- endmacro %}
