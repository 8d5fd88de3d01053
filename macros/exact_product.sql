{#
    units x unit price in DECIMAL(38,12). The product of both has 24 decimals and 14 integer digits: where it does not fit,
    whole units and their fraction are multiplied apart; where that does not fit either, through doubles. Null from 10^18
    on: no money is so much, and a few such amounts would overflow the sum of all others.

    A cast that is repeated inside try() is computed before it and outside of its care (DuckDB 2.0): it must not fail.
#}
{% macro exact_product(units, unit_amount) -%}
    {%- set decimal_units = 'try_cast(' ~ units ~ ' as decimal(38, 12))' -%}
    {%- set decimal_amount = 'try_cast(' ~ unit_amount ~ ' as decimal(38, 12))' -%}
    case
        when abs(cast({{ units }} as double) * cast({{ unit_amount }} as double)) < 1e18 then coalesce(
            try(cast({{ decimal_units }} * {{ decimal_amount }} as decimal(38, 12))),
            try(
                cast(trunc({{ decimal_units }}) as decimal(38, 0)) * {{ decimal_amount }}
                + cast(({{ decimal_units }} - trunc({{ decimal_units }})) * {{ decimal_amount }} as decimal(38, 12))
            ),
            try_cast(cast({{ units }} as double) * cast({{ unit_amount }} as double) as decimal(38, 12))
        )
    end
{%- endmacro %}
