{# What an event's units are worth at a price for each: exact where a decimal holds the units, else through doubles. #}
{% macro amount_of_units(events, unit_amount) -%}
    coalesce(
        {{ exact_product(events ~ '.units', unit_amount) }},
        {{ exact_product(events ~ '.units_as_double', unit_amount) }}
    )
{%- endmacro %}
