{# units x unit price in DECIMAL(38,12). The product has 24 decimals: where it does not fit, the double nearest to it. #}
{% macro exact_product(units, unit_amount) -%}
    coalesce(
        try(cast(cast({{ units }} as decimal(38, 12)) * cast({{ unit_amount }} as decimal(38, 12)) as decimal(38, 12))),
        try_cast(cast({{ units }} as double) * cast({{ unit_amount }} as double) as decimal(38, 12))
    )
{%- endmacro %}
