{# A decimal read from JSON as BIGINT; null where it has a fraction or does not fit. from_json alone would round 1.5. #}
{% macro whole_number(expression) -%}
    (case when {{ expression }} = trunc({{ expression }}) then try_cast({{ expression }} as bigint) end)
{%- endmacro %}
