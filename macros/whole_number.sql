{#
    A decimal read from JSON as BIGINT; null where it has a fraction (from_json alone would round 1.5), where Polar could
    not have written it, and from 10^15 on: no count of tokens or minor units is so large, and a few such numbers would
    overflow the sum of all others.
#}
{% macro whole_number(expression, least=none) -%}
    (case
        when {{ expression }} = trunc({{ expression }}) and abs({{ expression }}) < 1e15
            {%- if least is not none %} and {{ expression }} >= {{ least }}{% endif %}
            then try_cast({{ expression }} as bigint)
    end)
{%- endmacro %}

{# How many units of an interval a period has: Polar takes 1 to 999; null where it is none of these. #}
{% macro interval_count(expression) -%}
    (case when {{ expression }} between 1 and 999 then {{ whole_number(expression) }} end)
{%- endmacro %}
