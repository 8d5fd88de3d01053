{#
    units x unit price in DECIMAL(38,12). The product of both has 24 decimals and 14 integer digits: where it does not fit,
    whole units and their fraction are multiplied apart; where that does not fit either, through doubles.
#}
{% macro exact_product(units, unit_amount) -%}
    coalesce(
        try(cast(cast({{ units }} as decimal(38, 12)) * cast({{ unit_amount }} as decimal(38, 12)) as decimal(38, 12))),
        try(
            cast(trunc(cast({{ units }} as decimal(38, 12))) as decimal(38, 0)) * cast({{ unit_amount }} as decimal(38, 12))
            + cast(
                (cast({{ units }} as decimal(38, 12)) - trunc(cast({{ units }} as decimal(38, 12))))
                * cast({{ unit_amount }} as decimal(38, 12)) as decimal(38, 12)
            )
        ),
        try_cast(cast({{ units }} as double) * cast({{ unit_amount }} as double) as decimal(38, 12))
    )
{%- endmacro %}
