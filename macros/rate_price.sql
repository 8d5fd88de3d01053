{#
    What a quantity costs at a metered price, before its cap: BIGINT minor units, or null where it cannot be rated.
    consumed: DOUBLE; credited: DOUBLE holding a whole number.
#}
{% macro rate_price(price, consumed, credited) -%}
    case {{ price }}price_type
        when 'unit' then {{ rate_units(price ~ 'unit_amount', consumed, credited) }}
        else rate_tiers({{ price }}price_type, {{ price }}tiers, {{ consumed }}, {{ credited }})
    end
{%- endmacro %}
